"""The programs of Flower that we start, and their arguments; a new minor of it has to pass these, too."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from flwr.common import constant
from flwr.common.args import try_obtain_server_certificates
from flwr.common.config import parse_config_args
from flwr.supercore import constant as core
from flwr.supercore import telemetry
from flwr.superlink.cli.flower_superlink import _parse_args_run_superlink
from flwr.supernode import start_client_internal
from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode

import fedstrata
from fedstrata.deploy.flower import services, trial
from fedstrata.deploy.flower.keys import make_certificates

SRC = Path(fedstrata.__file__).parent


def test_the_programs_that_we_start_are_flowers() -> None:
    ours = {"flwr", "flower-superlink", "flower-supernode"}
    assert ours <= {point.name for point in entry_points(group="console_scripts") if point.value.startswith("flwr.")}


# --- processes -------------------------------------------------------------------------------------------------------


class Recorded:
    """Takes the place of a service and keeps the command."""

    def __init__(self, name: str, command: Sequence[str], **options: object) -> None:
        self.command = list(command)


@pytest.mark.parametrize("database", [None, Path("state.db")])
def test_a_superlink_takes_our_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Path | None
) -> None:
    monkeypatch.setattr(services, "Service", Recorded)
    files = make_certificates(tmp_path)
    service: Any = services.superlink(
        18000, files, home=services.Home(tmp_path), log=tmp_path / "log", database=database
    )
    assert service.command[0] == "flower-superlink"
    read = _parse_args_run_superlink().parse_args(service.command[1:])
    assert (read.host, read.port, read.insecure, read.enable_supernode_auth) == ("127.0.0.1", 18000, False, True)
    assert read.database == ("state.db" if database else core.FLWR_IN_MEMORY_DB_NAME)
    assert try_obtain_server_certificates(read) == tuple(
        f.read_bytes() for f in (files.authority, files.certificate, files.key)
    )


@pytest.mark.parametrize("site", ["site.yaml", "st mary's/site.yaml", "höhe/a\\b.toml", 'the "old" one/site.yaml'])
def test_a_supernode_takes_our_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str) -> None:
    monkeypatch.setattr(services, "Service", Recorded)
    home, log = services.Home(tmp_path), tmp_path / "log"
    service: Any = services.supernode(
        tmp_path / site,
        tmp_path / "key",
        "fl.example.org:8000",
        authority=tmp_path / "ca.crt",
        port=9094,
        home=home,
        log=log,
    )
    assert service.command[0] == "flower-supernode"
    read = _parse_args_run_supernode().parse_args(service.command[1:])
    assert (read.superlink, read.host, read.port) == ("fl.example.org:8000", "127.0.0.1", 9094)
    assert (read.root_certificates, read.insecure) == (str(tmp_path / "ca.crt"), False)
    assert str(read.auth_supernode_private_key) == str(tmp_path / "key")
    assert parse_config_args([read.node_config]) == {"site": str(tmp_path / site)}


def test_a_supernode_says_what_a_trial_waits_for() -> None:
    assert '"SuperNode ID' in inspect.getsource(start_client_internal)
    assert '"SuperNode ID"' in inspect.getsource(trial)


def test_flower_is_kept_quiet_by_the_names_that_it_reads() -> None:
    assert telemetry.FLWR_TELEMETRY_ENABLED in ("0", "1")
    names = {
        "FLWR_TELEMETRY_ENABLED",
        core.FLWR_DISABLE_UPDATE_CHECK,
        constant.FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION,
    }
    assert names <= set(services._QUIET)


# --- the command -----------------------------------------------------------------------------------------------------


JSON = ["--format", "json"]
CALLS: dict[str, list[str]] = {"flwr": [], "flwr_json": JSON}
"""Our two functions that call Flower's command, and what each adds to the words that it is given."""


def calls() -> list[list[str]]:
    """Every call of Flower's command in our code, with 1 for values, and the name of a connection where one may be."""
    files = (file for file in sorted(SRC.rglob("*.py")) if file.name != "services.py")
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    found = (n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in CALLS)
    written = [_words(n.args[0]) + CALLS[n.func.id] for n in found if isinstance(n.args[0], ast.List)]  # type: ignore[attr-defined]
    return [*written, ["supernode", "list", "trial", *JSON]]


def test_answers_in_json_are_asked_for_as_the_command_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def flwr(arguments: Sequence[str], **options: object) -> str:
        asked.append(list(arguments))
        return '{"success": true, "runs": []}'

    monkeypatch.setattr(services, "flwr", flwr)
    assert services.flwr_json(["list"], home=None)["runs"] == []
    assert asked == [["list", *JSON]]


def _words(arguments: ast.expr) -> list[str]:
    assert isinstance(arguments, ast.List)
    return [_word(word) for word in arguments.elts]


def _word(word: ast.expr) -> str:
    if isinstance(word, ast.Constant):
        return str(word.value)
    return "trial" if isinstance(word, ast.Starred) else "1"


@pytest.mark.filterwarnings("ignore:The 'is_flag' and:DeprecationWarning")  # Flower's own
def test_flowers_command_has_every_verb_and_option_that_we_use() -> None:
    from flwr.cli.app import typer_click_object

    used = calls()
    assert {words[0] for words in used} >= {"run", "list", "stop", "supernode"}
    for words in used:
        command: Any = typer_click_object
        while hasattr(command, "commands"):
            command, words = command.commands[words[0]], words[1:]
        context = command.make_context(command.name, list(words))
        assert not context.args, f"{command.name} does not know {context.args}"


def test_flower_answers_in_json_with_the_names_that_we_read() -> None:
    from flwr.cli.ls import _to_json
    from flwr.cli.run.run import _run_with_control_api

    assert '"run-id"' in inspect.getsource(_run_with_control_api)
    assert all(f'"{name}"' in inspect.getsource(_to_json) for name in ("runs", "run-id", "status", "status-details"))
    assert json.loads(_to_json([]))["runs"] == []
