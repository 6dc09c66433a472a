"""Client names: natural ids made safe for files and logs."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256

from fedstrata.domain.ids import ClientId

LENGTH = 64


def safe_ids(natural: Iterable[str]) -> dict[str, ClientId]:
    """Return a client name for each natural id: ``[a-z0-9_-]{1,64}``, unique, the same whatever the order.

    Ids that would share a name, or have no letter to keep, get a hash of the id at the end.

    Example:
        >>> safe_ids(["St. Mary", "ward_3"])
        {'St. Mary': 'st-mary', 'ward_3': 'ward_3'}
        >>> safe_ids(["A b", "a-b"])
        {'A b': 'a-b-a760b0', 'a-b': 'a-b-d44362'}
    """
    plain = {raw: _plain(raw) for raw in dict.fromkeys(natural)}
    taken = Counter(plain.values())
    names = {raw: name if name and taken[name] == 1 else _hashed(raw, name) for raw, name in plain.items()}
    if len(set(names.values())) < len(names):  # an id that looks like another's hashed name
        names = {raw: _hashed(raw, name) for raw, name in plain.items()}
    return {raw: ClientId(name) for raw, name in names.items()}


def _plain(raw: str) -> str:
    text = unicodedata.normalize("NFKD", raw).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", text)[:LENGTH].strip("-")


def _hashed(raw: str, name: str) -> str:
    return f"{name[: LENGTH - 9] or 'client'}-{sha256(raw.encode()).hexdigest()[:6]}"
