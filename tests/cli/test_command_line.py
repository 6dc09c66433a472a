"""The command line itself: help, speed, exit codes, what it prints."""

from __future__ import annotations

import json
import logging
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedstrata.cli.main import _without_traceback
from small_runs import digits, write_config

VERBS = ["demo", "init", "layers", "plan", "bench", "run", "resume", "sites", "report", "compare", "flower"]
HEAVY = ["torch", "transformers", "datasets", "numpy", "pandas", "sklearn", "matplotlib"]


def test_help_takes_little_more_of_the_processor_than_its_libraries() -> None:
    """Typer and rich alone take about half of it; the least of three counts, since other work slows caches down."""
    helps, libraries = [], []
    for _ in range(3):
        done, taken = processed("-m", "fedstrata", "--help")
        helps.append(taken)
        libraries.append(processed("-c", "import typer, rich.console")[1])
    assert "Federated fine-tuning" in done
    assert min(helps) < 4 * min(libraries)


def processed(*options: str) -> tuple[str, float]:
    """Return what Python printed, and the seconds of processor time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *options], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_command_line_imports_nothing_heavy() -> None:
    code = f"import sys, fedstrata.cli.main; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_verb_has_help(cli: Callable[..., Any], verb: str, flag: str) -> None:
    said = cli(verb, flag)
    assert said.code == 0
    assert f"Usage: fedstrata {verb}" in said.out


def test_help_lists_every_verb(cli: Callable[..., Any]) -> None:
    said = cli("--help")
    assert all(f" {verb} " in said.out for verb in VERBS)


def test_version(cli: Callable[..., Any]) -> None:
    from fedstrata import __version__

    assert cli("--version").out == f"fedstrata {__version__}\n"


@pytest.mark.parametrize("arguments", [["rnu"], ["run", "c.yaml", "--sett", "a=1"]])
def test_a_command_that_does_not_exist_is_exit_code_2(cli: Callable[..., Any], arguments: list[str]) -> None:
    said = cli(*arguments)
    assert said.code == 2
    assert "No such" in said.err


@pytest.mark.parametrize("verb", ["run", "plan", "layers", "resume", "report", "compare", "sweep"])
def test_a_name_that_no_file_can_have_is_no_bug(cli: Callable[..., Any], verb: str) -> None:
    said = cli(verb, "x" * 300)
    assert said.code in (2, 4)
    assert "too long" in said.err or "255 at most" in said.err
    assert "bug" not in said.err


def test_an_unforeseen_error_says_that_it_is_a_bug(cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedstrata.config.load.load_config", None)  # fedstrata's own code fails, and nobody else's
    said = cli("run", "c.yaml")
    assert said.code == 1
    assert said.err.splitlines()[0] == "fedstrata: TypeError: 'NoneType' object is not callable"
    assert "this is a bug in fedstrata" in said.err
    assert "Traceback" not in said.err


@pytest.fixture
def config(tmp_path: Path) -> str:
    train = {"rounds": 1, "steps": 1, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}
    return str(write_config(tmp_path / "c.yaml", digits(Path("out"), train=train)))


def test_run_prints_a_line_per_round_and_what_came_out(cli: Callable[..., Any], config: str) -> None:
    said = cli("run", config)
    assert said.code == 0
    lines = said.err.splitlines()
    assert re.fullmatch(
        r"\d+ clients with \d+ training rows \(.*\), 298 test rows; 6 layers to choose from, budget 1 layer per client",
        lines[0],
    )
    assert lines[1] == "evaluating the starting point"
    assert lines[2].startswith("consensus: rounds 1 to 1, accuracy 0.")
    assert lines[3].startswith("round 1/1  accuracy 0.")
    summary = json.loads(Path("out/summary.json").read_text())
    assert said.out.startswith(f"consensus: accuracy {summary['final']['accuracy']:.3f} (before training ")
    assert "model: out/model\n" in said.out
    assert said.out.endswith("run: out   (fedstrata report out)\n")


def test_json_prints_the_summary_and_nothing_else(cli: Callable[..., Any], config: str) -> None:
    said = cli("run", config, "--json")
    assert json.loads(said.out) == json.loads(Path("out/summary.json").read_text())
    assert said.err == ""


def test_an_interrupted_run_is_exit_code_130_and_resume_finishes_it(
    cli: Callable[..., Any], config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedstrata.cli.session.StopFlag.__call__", lambda self: True)
    said = cli("run", config, "--set", "train.rounds=2")
    assert said.code == 130
    assert "interrupted and saved; go on with: fedstrata resume out" in said.out
    assert not Path("out/model").exists()
    said = cli("resume", "out")
    assert said.code == 0
    assert Path("out/model/model.safetensors").is_file()
    assert "up since round 2 " in said.err


def test_a_run_without_an_output_makes_a_folder_of_its_own_each_time(cli: Callable[..., Any], config: str) -> None:
    for _ in range(2):
        assert cli("run", config, "--set", "output=null", "--set", "name=mine", "--quiet").code == 0
    made = sorted(p.name for p in Path("runs").iterdir())
    assert len(made) == 2
    assert all("_mine_s0" in name for name in made)


NET = """\
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(64, 64) for _ in range(2))
        self.head = torch.nn.Linear(64, 10)
    def forward(self, x):
        if torch.is_grad_enabled():
            raise KeyError("mine")
        return self.head(x.flatten(1))
def make(labels):
    return Net()
"""


def test_an_error_inside_every_client_is_a_sentence_and_exit_code_4(
    cli: Callable[..., Any], config: str, tmp_path: Path
) -> None:
    (tmp_path / "nets_that_fail.py").write_text(NET)
    said = cli("run", config, "--set", "model.path=nets_that_fail:make")
    assert said.code == 4
    last = said.err.splitlines()[-1]
    assert last.startswith(
        "fedstrata: round 1 is abandoned: 0 of 3 clients are left after the probe, 1 is needed; first, client-00"
    )
    assert "CLIENT_ERROR: KeyError: 'mine'; it was raised in your own code: Net.forward (" in last
    assert "nets_that_fail.py:9); given up after 3 attempts; see to the clients" in last


def test_without_debug_a_logged_error_is_one_line() -> None:
    try:
        raise KeyError("mine")
    except KeyError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "client %s failed", ("a",), sys.exc_info())
    assert _without_traceback(record)
    assert logging.Formatter("%(levelname)s %(message)s").format(record) == "ERROR client a failed: KeyError: 'mine'"


@pytest.mark.parametrize(
    "verb", [("flower", "key", "k"), ("flower", "new", "d"), ("run", "c.yaml", "--engine", "flower")]
)
def test_without_flower_a_verb_that_needs_it_says_how_to_get_it(
    cli: Callable[..., Any], verb: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'flwr.app'", name="flwr.app")

    write_config(tmp_path / "c.yaml", digits(Path("out"), flower={"sites": "keys"}))
    monkeypatch.setattr("fedstrata.deploy.flower.keys.make_site_key", gone)
    monkeypatch.setattr("fedstrata.deploy.flower.new_app.new_app", gone)
    monkeypatch.setattr("fedstrata.cli.over_flower.play_over_flower", gone)
    said = cli(*verb)
    assert said.code == 2
    assert said.err == "fedstrata: this needs Flower; install it with: pip install 'fedstrata[flower]'\n"
