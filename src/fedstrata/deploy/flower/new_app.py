"""A new app's folder: the Flower app, a run and a site's file to fill in, and a page that says what to do with them."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from string import Template

from fedstrata.deploy.flower.app import LONGEST, SETTINGS, write_app
from fedstrata.deploy.flower.quoting import toml
from fedstrata.errors import ConfigError
from fedstrata.files import writing

TEXTS = ("run.yaml", "site.example.yaml", "README.md")
"""What a user reads and fills in; they lie in ``templates/``."""
KEYS = "sites"
"""Folder for the sites' public keys."""


def new_app(folder: Path, *, name: str | None = None, force: bool = False) -> str:
    """Write a new app into a folder, and return the app's name.

    Args:
        folder: Where; it is made.
        name: Name of the app; ``None`` makes one of the folder's.
        force: Write into a folder that is not empty; what has the same name there is replaced.

    Raises:
        ConfigError: The folder is not empty, its path or the name cannot be used, or it cannot be written.

    Example:
        ``tests/cli/test_flower_new.py`` builds one with Flower's own tool.
    """
    place = folder.resolve()
    if place.exists() and not place.is_dir():
        raise ConfigError(f"{folder} is a file; name a folder")
    if place.is_dir() and any(place.iterdir()) and not force:
        raise ConfigError(f"{folder} is not empty; name another folder, or --force to write into it")
    called = name or app_name(place.name)
    values = {"name": called, "folder": _quoted(place), "version": version("fedstrata")}
    texts = {text: Template(_template(text)).substitute(values) for text in TEXTS}
    write_app(place, SETTINGS, name=called)
    with writing(folder, refused=ConfigError):
        (place / KEYS).mkdir(exist_ok=True)
        for file, text in texts.items():
            (place / file).write_text(text, encoding="utf-8")
    return called


def app_name(folder: str) -> str:
    """Return the name of the app in a folder: what Flower takes of the folder's name.

    Example:
        >>> app_name("St. Mary's (2)"), app_name("2026_trial"), app_name("...")
        ('st-mary-s-2', 'run-2026-trial', 'fedstrata-run')
    """
    words = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-")
    if not words:
        return "fedstrata-run"
    return (words if words[0].isalpha() else f"run-{words}")[:LONGEST].rstrip("-")


def _template(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _quoted(path: Path) -> str:
    """Return a path as YAML and TOML write it.

    Raises:
        ConfigError: It is no text.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{str(path).encode(errors='replace').decode()} has no name in UTF-8; rename it") from error
    return toml(str(path))
