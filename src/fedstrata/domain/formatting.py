"""Numbers in words: the one place that decides how the report writes shares, sizes and times."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, isnan

from fedstrata.domain.units import shown

MEGABYTE = 1_000_000
"""Bytes in one MB, here and in every table."""

NOTHING = "–"
"""What a table shows where nothing was recorded."""


def number(value: float | None, *, digits: int = 3) -> str:
    """Return a number with a few significant digits, or a word where it is none.

    Example:
        >>> number(0.012345), number(1234.5), number(0.0), number(None), number(float("nan"))
        ('0.0123', '1,234', '0', '–', 'not a number')
    """
    if value is None:
        return NOTHING
    if isnan(value):
        return "not a number"
    if not isfinite(value):
        return "no limit" if value == inf else "-infinite"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def percent(share: float | None) -> str:
    """Return a share in [0, 1] as a percentage with one decimal.

    Example:
        >>> percent(0.6321), percent(None)
        ('63.2%', '–')
    """
    if share is None or not isfinite(share):
        return number(share)
    return f"{100 * share:.1f}%"


def points(difference: float) -> str:
    """Return a difference of two shares in percentage points, with its sign.

    Example:
        >>> points(0.042), points(-0.3)
        ('+4.2 points', '-30.0 points')
    """
    return f"{100 * difference:+.1f} points" if isfinite(difference) else number(difference)


def megabytes(size: float) -> str:
    """Return bytes as MB (10^6 bytes), with more digits where they are few.

    Example:
        >>> megabytes(16_200_000), megabytes(1_234), megabytes(0)
        ('16.20', '0.0012', '0')
    """
    value = size / MEGABYTE
    return number(value, digits=2) if value < 0.1 else f"{value:,.2f}"


def duration(seconds: float) -> str:
    """Return a time in the units that a person would use.

    Example:
        >>> duration(3.21), duration(245), duration(7500)
        ('3.2 s', '4 min 05 s', '2 h 05 min')
    """
    if not isfinite(seconds) or seconds < 59.95:
        return f"{seconds:.1f} s" if isfinite(seconds) else number(seconds)
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def quantity(unit: str, value: float) -> str:
    """Return an amount in a unit of costs, without the word that tells peaks from transfers.

    Example:
        >>> quantity("bytes_peak", 2.5e9), quantity("flops", 3e12), quantity("seconds", 0.25), quantity("seconds", 245)
        ('2.50 GB', '3.00 TFLOP', '0.25 s', '4 min 05 s')
    """
    if unit == "seconds" and value >= 60:
        return duration(value)
    return shown(unit, value).removesuffix(f" {unit.removeprefix('bytes_')}")


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    Example:
        >>> plural(1, "client"), plural(1200, "client"), plural(2, "batch")
        ('1 client', '1,200 clients', '2 batches')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "es" if noun.endswith(("s", "ch")) else "s")


def listing(words: Sequence[str], *, limit: int = 5) -> str:
    """Return a few words with commas, and how many were left off.

    Example:
        >>> listing(["a", "b", "c"], limit=2)
        'a, b and 1 more'
    """
    shown = ", ".join(words[:limit])
    return shown + (f" and {len(words) - limit} more" if len(words) > limit else "")


def short_names(names: tuple[str, ...], *, bare: bool = False) -> tuple[str, ...]:
    """Return the names without the dotted path that all of them share; plain numbers keep one word before them.

    Args:
        names: Dotted names, all different.
        bare: Let plain numbers stand alone.

    Example:
        >>> short_names(("vit.layers.0", "vit.layers.1")), short_names(("stem",))
        (('layers.0', 'layers.1'), ('stem',))
        >>> short_names(("vit.layers.0", "vit.layers.1"), bare=True)
        ('0', '1')
    """
    if len(names) < 2:
        return names
    parts = [name.split(".") for name in names]
    shared = 0
    while all(len(p) > shared + 1 and p[shared] == parts[0][shared] for p in parts):
        shared += 1
    numbers = all(len(p) == shared + 1 and p[-1].isdigit() for p in parts)
    start = max(shared - 1, 0) if numbers and not bare else shared
    return tuple(".".join(p[start:]) for p in parts)


def clip(text: str, *, width: int = 22) -> str:
    """Return the text, with its middle left out where it is longer than ``width`` characters.

    Example:
        >>> clip("hospital_of_the_eastern_region", width=12)
        'hospit…egion'
    """
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + "…" + text[-tail:]


def clean(text: str) -> str:
    r"""Return the text with characters replaced that XML or UTF-8 cannot hold, or that move a terminal's cursor.

    Example:
        >>> clean("a\x00b") == clean("a\x9bb") == "a\ufffdb"
        True
    """
    return "".join(c if c in "\t\n\r" or _is_xml(ord(c)) else "\ufffd" for c in text)


def _is_xml(code: int) -> bool:
    return 0x20 <= code < 0x7F or 0x9F < code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000
