"""Values as Flower reads them: in its TOML files, and in the settings on its command lines."""

from __future__ import annotations

import json

from fedstrata.errors import ConfigError


def toml(value: str | bool) -> str:  # noqa: FBT001  a value of any setting
    r"""Return a value as TOML, whose strings are JSON's but for the letters that JSON writes in two halves.

    Example:
        >>> print(toml('a "b"'), toml(True))
        "a \"b\"" true
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def node_setting(name: str, value: str) -> str:
    r"""Return a setting for ``--node-config``, where Flower takes a quoted text up to the next quote of its kind.

    Raises:
        ConfigError: The value has quotes of both kinds.

    Example:
        >>> node_setting("site", "/srv/st mary/site.yaml"), node_setting("site", "/st mary's")
        ('site="/srv/st mary/site.yaml"', 'site="/st mary\'s"')
    """
    if '"' not in value:
        return f"{name}={toml(value)}"
    if "'" not in value and value.isprintable():
        return f"{name}='{value}'"
    raise ConfigError(f"Flower's --node-config cannot hold {value[:200]}, which has quotes of both kinds; rename it")
