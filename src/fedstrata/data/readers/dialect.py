"""How text files are written: what separates their columns, and which encoding their bytes are of."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from fedstrata.errors import ConfigError, DataError

SEPARATORS = (",", ";", "\t", "|")
"""What is tried where the configuration names no separator."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Dialect:
    r"""What the configuration says of text files.

    Attributes:
        separator: One character between columns; ``None`` finds it in the header.
        encoding: Name of the encoding; ``None`` is UTF-8, or what a byte-order mark says.

    Example:
        >>> Dialect("tab", "latin-1").separator
        '\t'
    """

    separator: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        """Check both."""
        if self.separator in ("tab", "\\t"):
            object.__setattr__(self, "separator", "\t")
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n\0'):
            raise ConfigError(
                f"data: separator is {self.separator!r}; give one character, such as ';', or tab, or leave it out"
            )
        if self.encoding is not None and not _is_encoding(self.encoding):
            raise ConfigError(
                f"data: encoding '{self.encoding[:80]}' is not known; give one such as utf-8, cp1252 or utf-16"
            )


def _is_encoding(name: str) -> bool:
    try:
        return "x".encode(name).decode(name) == "x"  # refuses codecs that are not of texts, such as base64
    except (LookupError, ValueError, TypeError):
        return False


def encoding_of(path: Path, shown: str, dialect: Dialect) -> str:
    """Return the encoding to read a file in.

    Args:
        path: The file.
        shown: What errors call it.
        dialect: What the configuration says.

    Raises:
        DataError: It is UTF-16 without a mark, which only the configuration can say.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if dialect.encoding is not None:
        named = codecs.lookup(dialect.encoding).name
        return "utf-8-sig" if named == "utf-8" else named
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if marked is None and b"\0" in head:
        likely = "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
        raise DataError(
            f"{shown} holds zero bytes, as texts in UTF-16 do; set data.encoding: {likely}, or save the file as UTF-8"
        )
    return marked or "utf-8"


def undecodable(path: Path, shown: str, encoding: str) -> DataError:
    """Return the error of a file that is not of an encoding, with the first bad line and what would fit.

    Example:
        See ``tests/data/readers/test_dialect.py``.
    """
    wide = encoding.startswith(("utf-16", "utf-32"))  # whose lines do not end in one byte
    with path.open("rb") as file:
        for number, line in enumerate(() if wide else file, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                where = f"{shown} line {number} is not {encoding.removesuffix('-sig')} (byte 0x{line[error.start]:02x})"
                return DataError(f"{where}; {_advice(line, error.start, encoding)}")
            except UnicodeError:  # of a codec that names no byte, such as punycode
                break
    return DataError(f"{shown} is not {encoding}; set data.encoding to the one that it was saved in, such as utf-8")


def _advice(line: bytes, at: int, encoding: str) -> str:
    for other in ("utf-8", "cp1252"):
        if other == codecs.lookup(encoding).name.removesuffix("-sig"):
            continue
        try:
            read = line.decode(other)
        except UnicodeDecodeError:
            continue
        place = len(line[:at].decode(other, errors="replace"))
        word = read[max(0, place - 12) : place + 12].strip()
        return (
            f"with data.encoding: {other} it reads '...{word}...'; set that if it is right, or save the file as UTF-8"
        )
    return "set data.encoding to the one that it was saved in, or save the file as UTF-8"
