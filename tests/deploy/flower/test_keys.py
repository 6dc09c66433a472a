"""Keys and certificates: they verify, are for their owner alone, and are what Flower takes."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from stat import S_IMODE

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from flwr.cli.supernode.register import try_load_public_key
from flwr.supercore.primitives.asymmetric import uses_nist_ec_curve
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.deploy.flower.keys import Certificates, make_certificates, make_site_key, public_key, read_public_key
from fedstrata.errors import ConfigError

HOSTS = ("fl.example.org", "localhost", "127.0.0.1", "::1", "*.hospital.example")


def mode(path: Path) -> int:
    return S_IMODE(path.stat().st_mode)


def loaded(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def verified(files: Certificates, host: str, *, days_from_now: float = 0) -> x509.Certificate:
    """Verify as a browser would: signature, names, dates and what the certificates are for."""
    subject = x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
    moment = datetime.now(UTC) + timedelta(days=days_from_now)
    policy = PolicyBuilder().store(Store([loaded(files.authority)])).time(moment)
    return policy.build_server_verifier(subject).verify(loaded(files.certificate), [])[0]


def shake_hands(files: Certificates, host: str, *, trusted: Path | None = None) -> str | None:
    """Speak TLS in memory, as strictly as Python 3.13 does by default."""
    server, client = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.create_default_context(cafile=trusted or files.authority),
    )
    server.load_cert_chain(files.certificate, files.key)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname=host), server.wrap_bio(up, down, server_side=True)]
    for _ in range(4):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass
    return end.version() if not ends else None


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"), HOSTS, days=30)


@pytest.mark.parametrize("host", ["fl.example.org", "localhost", "127.0.0.1", "::1", "north.hospital.example"])
def test_sites_reach_the_server_by_each_of_its_names_with_tls(files: Certificates, host: str) -> None:
    assert shake_hands(files, host) == "TLSv1.3"


@pytest.mark.parametrize("host", ["fl.example.com", "127.0.0.2", "example.org"])
def test_a_server_under_another_name_is_refused(files: Certificates, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(files, host)


def test_a_server_of_another_authority_is_refused(files: Certificates, tmp_path: Path) -> None:
    other = make_certificates(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(files, "localhost", trusted=other.authority)


def test_the_authority_signed_the_servers_certificate_and_says_what_it_is_for(files: Certificates) -> None:
    server, authority = loaded(files.certificate), loaded(files.authority)
    server.verify_directly_issued_by(authority)
    authority.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fl.example.org", "localhost", "*.hospital.example"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["127.0.0.1", "::1"]
    assert verified(files, "127.0.0.1") == server


@pytest.mark.parametrize(("certificate", "signs"), [("authority", True), ("certificate", False)])
def test_only_the_authority_signs_and_only_servers(files: Certificates, certificate: str, signs: bool) -> None:
    extensions = loaded(getattr(files, certificate)).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca) == (True, signs)
    assert constraints.value.path_length == (0 if signs else None)
    assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is signs


def test_certificates_count_from_an_hour_ago_for_as_long_as_asked(files: Certificates) -> None:
    for path in (files.authority, files.certificate):
        start, end = loaded(path).not_valid_before_utc, loaded(path).not_valid_after_utc
        assert timedelta(days=30, hours=1) - timedelta(seconds=2) <= end - start <= timedelta(days=30, hours=1)
        assert timedelta(hours=1) <= datetime.now(UTC) - start < timedelta(hours=1, minutes=5)
    verified(files, "localhost", days_from_now=29.9)
    with pytest.raises(VerificationError, match="not valid at validation time"):
        verified(files, "localhost", days_from_now=30.1)


@pytest.mark.parametrize("days", [-1, -0.01, -400])
def test_expired_certificates_can_be_made_and_are_refused(tmp_path: Path, days: float) -> None:
    expired = make_certificates(tmp_path, days=days)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(expired, "localhost")


def test_the_servers_key_belongs_to_its_certificate_and_the_authoritys_is_not_kept(files: Certificates) -> None:
    key = load_pem_private_key(files.key.read_bytes(), None)
    assert key.public_key() == loaded(files.certificate).public_key()
    assert {path.name for path in files.key.parent.iterdir()} == {"ca.crt", "server.pem", "server.key"}
    assert loaded(files.authority).public_key() != key.public_key()


def test_private_files_are_for_their_owner_alone_even_where_others_could_read_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "server.key").touch(mode=0o644)
    files = make_certificates(tmp_path)
    make_site_key(tmp_path / "north")
    assert mode(files.key) == mode(tmp_path / "north") == 0o600
    assert mode(files.certificate) == mode(files.authority) == mode(tmp_path / "north.pub") == 0o644


def test_no_two_certificates_are_the_same(tmp_path: Path) -> None:
    first, second = (make_certificates(tmp_path / name) for name in "ab")
    assert loaded(first.certificate).serial_number != loaded(second.certificate).serial_number
    assert first.key.read_bytes() != second.key.read_bytes()


@pytest.mark.parametrize(
    "host", ["", "fl.example.org:443", "https://fl.example.org", "a b", "a\n", "böse.example", "-a", "a..b", "x" * 254]
)
def test_what_is_no_host_is_refused_before_anything_is_written(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="is neither a name nor an address of a server"):
        make_certificates(tmp_path / "tls", ["localhost", host])
    assert not (tmp_path / "tls").exists()


def test_a_certificate_needs_a_host(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a name or address of the server"):
        make_certificates(tmp_path, [])


def test_a_long_host_is_a_host(tmp_path: Path) -> None:
    host = ".".join(["x" * 60] * 3)
    assert shake_hands(make_certificates(tmp_path, [host]), host) == "TLSv1.3"


@pytest.mark.parametrize("days", [1e9, -1e9, float("inf"), float("nan"), 4e6])
def test_days_that_no_calendar_has_are_refused(tmp_path: Path, days: float) -> None:
    with pytest.raises(ConfigError, match="a certificate cannot be valid for"):
        make_certificates(tmp_path, days=days)


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for make in (make_certificates, lambda folder: make_site_key(folder / "key")):
        with pytest.raises(ConfigError, match=r"file.* cannot be written: "):
            make(tmp_path / "file")


def test_flower_takes_a_sites_key_and_knows_it_as_we_do(tmp_path: Path) -> None:
    public = make_site_key(tmp_path / "keys" / "north")
    assert public == tmp_path / "keys" / "north.pub"
    assert read_public_key(public) == try_load_public_key(public)


def test_the_halves_of_a_sites_key_belong_together(tmp_path: Path) -> None:
    public = make_site_key(tmp_path / "north")
    key = load_ssh_private_key((tmp_path / "north").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert uses_nist_ec_curve(key.public_key())
    assert key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) == read_public_key(public)


@pytest.mark.parametrize("lost", ["", ".pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, lost: str) -> None:
    make_site_key(tmp_path / "north")
    (tmp_path / f"north{lost}").unlink()
    (left,) = tmp_path.iterdir()
    before = left.read_bytes()
    with pytest.raises(ConfigError, match=f"{left.name} is a key already; delete it first"):
        make_site_key(tmp_path / "north")
    assert left.read_bytes() == before
    assert list(tmp_path.iterdir()) == [left]


def openssh(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 1024).public_key(), ed25519.Ed25519PrivateKey.generate().public_key()],
    ids=["rsa", "ed25519"],
)
def test_keys_that_flower_does_not_take_are_refused(key: rsa.RSAPublicKey) -> None:
    with pytest.raises(ConfigError, match="north is a key of another kind than Flower takes; make one with: fedstrata"):
        public_key(openssh(key), "north")


def garbled(data: bytes) -> bytes:
    kind, _, rest = data.partition(b" ")
    return kind + b" " + base64.b64encode(base64.b64decode(rest)[:40])


GOOD = openssh(ec.generate_private_key(ec.SECP384R1()).public_key())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\xff\xfe",
        b"ecdsa-sha2-nistp384",
        b"ecdsa-sha2-nistp384 !!!",
        b"dsa AAAA",
        garbled(GOOD),
        GOOD[:-9],
    ],
)
def test_what_is_no_key_is_refused_with_the_way_to_one(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"north is no public key of a site: .*; make one with: fedstrata flower key"):
        public_key(data, "north")


@given(
    st.binary(max_size=200)
    | st.builds(lambda at, by: GOOD[:at] + by + GOOD[at + 1 :], st.integers(0, len(GOOD)), st.binary(max_size=3))
)
def test_any_bytes_are_a_key_or_a_config_error(data: bytes) -> None:
    try:
        found = public_key(data, "north")
    except ConfigError as error:
        found = str(error).encode()
    assert found.startswith((b"-----BEGIN PUBLIC KEY-----", b"north is "))


def test_a_private_key_in_the_place_of_the_public_one_is_refused(tmp_path: Path) -> None:
    make_site_key(tmp_path / "north")
    with pytest.raises(ConfigError, match="is no public key of a site"):
        read_public_key(tmp_path / "north")


def test_a_comment_behind_a_key_is_no_part_of_it() -> None:
    assert public_key(GOOD + b" root@north\n", "north") == public_key(GOOD, "north")


def test_a_key_that_is_not_there_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"north\.pub cannot be read: No such file or directory; copy the site's"):
        read_public_key(tmp_path / "north.pub")
