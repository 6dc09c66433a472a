"""The Flower app of a run: a folder that ``flwr run`` takes as it is, and that needs nothing from the network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from fedstrata.deploy.flower.quoting import toml
from fedstrata.errors import ConfigError
from fedstrata.files import writing

PACKAGE = "fedstrata_app"
"""Name of the app's own Python package: two files of one line each, which a user may extend."""
LONGEST = 32
"""Letters of an app's name, at most, for Flower."""
SETTINGS: Mapping[str, str] = {"config": "run.yaml", "output": "", "resume": "", "keys": "", "channel": ""}
"""The settings of a run's app, with their defaults; ``server.py`` says what each is."""

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0.0"
description = "A fedstrata run over Flower."
license = {{ file = "LICENSE" }}
dependencies = ["fedstrata[flower]=={fedstrata}", "flwr>={flwr}"]

[tool.flwr.app]
publisher = "fedstrata"
fab-format-version = 1
flwr-version-target = "{flwr}"

[tool.flwr.app.components]
serverapp = "{package}.server:app"
clientapp = "{package}.client:app"

[tool.flwr.app.config]
{config}
"""
_SERVER = '''\
"""The server's side of this app."""

from fedstrata.deploy.flower.server import server_app

app = server_app(__file__)
'''
_CLIENT = '''\
"""A site's side of this app; what a site does with it is in its own site.yaml."""

from fedstrata.deploy.flower.client import client_app

app = client_app()
'''
_LICENSE = "Apache License, Version 2.0\nhttps://www.apache.org/licenses/LICENSE-2.0\n"


def write_app(folder: Path, settings: Mapping[str, str | bool], *, name: str = "fedstrata-run") -> None:
    """Write the parts of an app that are the same for every run.

    Args:
        folder: Where; it is made.
        settings: The app's run configuration, which ``flwr run --run-config`` may override.
        name: Name of the app: up to 32 small letters, digits and hyphens.

    Raises:
        ConfigError: The name is none, or the folder cannot be written.

    Example:
        ``tests/deploy/flower/test_app.py`` builds one with Flower's own tool.
    """
    if len(name) > LONGEST or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ConfigError(
            f"'{name[:60]}' is no name of a Flower app; use up to {LONGEST} small letters, digits and single hyphens,"
            " a letter first"
        )
    values = "\n".join(f"{key} = {toml(value)}" for key, value in settings.items())
    pyproject = _PYPROJECT.format(
        name=name, fedstrata=version("fedstrata"), flwr=version("flwr"), package=PACKAGE, config=values
    )
    files = {
        "pyproject.toml": pyproject,
        "LICENSE": _LICENSE,
        f"{PACKAGE}/__init__.py": '"""A fedstrata run as a Flower app."""\n',
        f"{PACKAGE}/server.py": _SERVER,
        f"{PACKAGE}/client.py": _CLIENT,
    }
    with writing(folder, refused=ConfigError):
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
