"""The name of a method: what its selector is made of."""

from __future__ import annotations

from collections.abc import Mapping

from fedstrata.config.catalog import describe


def method_name(selector: object) -> str:
    """Return the kinds of a selector and of those inside it, such as ``periodic-consensus``."""
    names, spec = [], describe(selector)
    while True:
        names.append(str(spec["kind"]).rpartition(":")[2].lower())
        if not isinstance(spec.get("inner"), Mapping):
            return "-".join(names)
        spec = spec["inner"]
