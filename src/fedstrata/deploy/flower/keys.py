"""Keys and certificates that identify the server and the sites.

The server has a certificate (X.509, P-256) that its own authority signs; each site has a P-384 key in OpenSSH's format,
whose public half the server knows by the site's name. Private files are readable by their owner alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedstrata.errors import ConfigError
from fedstrata.files import writing

_AUTHORITY = "fedstrata trial authority"
_LABEL = "[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_DNS = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*", re.IGNORECASE | re.ASCII)
_LONGEST = 253  # letters of a name in the domain name system


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a server's identity.

    Attributes:
        authority: Certificate that sites check the server against.
        certificate: The server's own.
        key: The server's private key.
    """

    authority: Path
    certificate: Path
    key: Path


def make_certificates(
    folder: Path, hosts: Sequence[str] = ("localhost", "127.0.0.1"), *, days: float = 365
) -> Certificates:
    """Make an authority and a server certificate that it signs; the authority's key is used once and not kept.

    Args:
        folder: Where the three files are written; it is made.
        hosts: Names and addresses under which sites reach the server.
        days: How long both are valid, from an hour ago on; negative makes expired ones, for tests.

    Raises:
        ConfigError: There is no host, one is none, so many days cannot be, or the files cannot be written.
    """
    if not hosts:
        raise ConfigError("a certificate needs a name or address of the server, such as --host fl.example.org")
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    files = Certificates(folder / "ca.crt", folder / "server.pem", folder / "server.key")
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, days).sign(authority_key, SHA256())
    server = _server(server_key, hosts[0][:64], authority, days).add_extension(names, critical=False)
    _write(files.authority, authority.public_bytes(Encoding.PEM))
    _write(files.certificate, server.sign(authority_key, SHA256()).public_bytes(Encoding.PEM))
    pem = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(files.key, pem, private=True)
    return files


def make_site_key(path: Path) -> Path:
    """Make a site's key pair: ``path`` and ``path.pub``; return the public file.

    Raises:
        ConfigError: There is a key already, or the files cannot be written.
    """
    public = path.with_name(f"{path.name}.pub")
    for file in (path, public):
        if file.exists():
            raise ConfigError(f"{file} is a key already; delete it first if the site is to get another")
    key = ec.generate_private_key(ec.SECP384R1())
    _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), private=True)
    _write(public, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n")
    return public


def read_public_key(path: Path) -> bytes:
    """Return a site's public key in the form in which Flower tells whom a node's connection belongs to.

    Raises:
        ConfigError: The file is not the public half of an elliptic-curve key in OpenSSH's format.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; copy the site's public key there") from error
    return public_key(data, str(path))


def public_key(data: bytes, where: str) -> bytes:
    """Return a public key in OpenSSH's format as PEM.

    Args:
        data: The key.
        where: What it is called in an error.

    Raises:
        ConfigError: It is not the public half of an elliptic-curve key in OpenSSH's format.
    """
    try:
        key = load_ssh_public_key(data)
    except (ValueError, NotImplementedError, UnsupportedAlgorithm) as error:  # the second of a point that is compressed
        advice = "make one with: fedstrata flower key"
        raise ConfigError(f"{where} is no public key of a site: {str(error)[:100]}; {advice}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigError(f"{where} is a key of another kind than Flower takes; make one with: fedstrata flower key")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _authority(key: ec.EllipticCurvePrivateKey, days: float) -> x509.CertificateBuilder:
    builder = _builder(_AUTHORITY, key.public_key(), days).issuer_name(_name(_AUTHORITY))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(_usage(signs_certificates=True), critical=True)


def _server(
    key: ec.EllipticCurvePrivateKey, name: str, authority: x509.Certificate, days: float
) -> x509.CertificateBuilder:
    builder = _builder(name, key.public_key(), days).issuer_name(authority.subject)
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)
    builder = builder.add_extension(identifier, critical=False)  # Python 3.13 takes none without it
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    return builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)


def _builder(name: str, key: ec.EllipticCurvePublicKey, days: float) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    try:
        end = now + timedelta(days=days)
        start = min(now - timedelta(hours=1), end - timedelta(hours=1))
        builder = x509.CertificateBuilder().not_valid_before(start).not_valid_after(end)
    except (OverflowError, ValueError) as error:
        raise ConfigError(f"a certificate cannot be valid for {days:g} days; 365 are usual") from error
    builder = builder.subject_name(_name(name)).serial_number(x509.random_serial_number()).public_key(key)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(host))
    if len(host) > _LONGEST or not _DNS.fullmatch(host):
        raise ConfigError(
            f"'{host[:80]}' is neither a name nor an address of a server; write it as --host fl.example.org, without"
            " a port, and a name in other letters as xn--..."
        )
    return x509.DNSName(host)


def _write(path: Path, data: bytes, *, private: bool = False) -> None:
    with writing(path, refused=ConfigError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            if private:
                os.fchmod(descriptor, 0o600)  # it may have been there, for others to read
            file.write(data)
