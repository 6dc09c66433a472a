"""One spelling for every value, so that labels and ids of different files are compared by value."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,98})")
"""A whole number as it is spelled here. Digits behind a zero (``0070``) are a code, and 100 digits or more a text."""
CODE = re.compile(r"0[0-9]+")
FRACTION = re.compile(r"-?[0-9]+\.[0-9]*[1-9][0-9]*")
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0*")


def spelled(value: Any) -> str | None:  # noqa: ANN401  whatever a file holds
    """Return how a value is spelled, ``None`` where there is none: blank, NaN, nothing.

    Numbers that are equal have one spelling, whether a file holds them as whole numbers, as floats or as text; blanks
    around a text do not count, and accents have one form.

    Raises:
        TypeError: It is no single value, such as a list.

    Example:
        >>> [spelled(value) for value in (1, 1.0, "1", " 1", "1.0", "0070", "no ", " ", None)]
        ['1', '1', '1', '1', '1', '0070', 'no', None, None]
    """
    if value is None or (isinstance(value, (float, Decimal)) and math.isnan(value)):
        return None
    if isinstance(value, (bool, date, datetime, time)):
        return str(value)
    if isinstance(value, (int, float, Decimal)):
        return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__}, not a single value")
    text = unicodedata.normalize("NFC", value.strip())
    whole = _WHOLE.fullmatch(text)
    return (whole[1] if whole else text) or None
