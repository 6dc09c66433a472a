"""The examples run as their users run them: as scripts, from a folder of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fedstrata
from warm import run

EXAMPLES = Path(__file__).parents[2] / "examples"


def script(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an example from an empty folder."""
    return run([sys.executable, str(EXAMPLES / name)], cwd=folder)


def test_custom_selector_goes_from_the_first_layer_to_the_last(tmp_path: Path) -> None:
    done = script("custom_selector.py", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == [f"round {i}: layers [{layer}]" for i, layer in enumerate([0, 0, 5, 5], 1)]
    assert float(lines[4].split()[1]) > 0.2
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]


def test_unreliable_clients_are_counted_and_the_run_still_learns(tmp_path: Path) -> None:
    done = script("unreliable_clients.py", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    calm, storm, losses, report = done.stdout.splitlines()
    assert calm.startswith("calm: accuracy 0.")
    assert calm.endswith(", 0 attempts abandoned")
    assert float(storm.split()[2].rstrip(",")) > 0.4
    assert {"LATE", "DUPLICATE", "STALE", "CLIENT_ERROR"} <= set(losses.removeprefix("did not count: ").split())
    assert (tmp_path / report.removeprefix("report: ")).is_file()


def test_budgets_of_every_kind_hold_and_the_poorest_client_stays_near_the_output(tmp_path: Path) -> None:
    options = ["train.rounds=1", f"output={tmp_path / 'run'}"]
    fedstrata.run(EXAMPLES / "budgets.yaml", overrides=options)
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    clients = {e["client"]: e for e in events if e["event"] == "client"}
    for client in clients.values():
        assert client["mask"], client["client"]
        assert all(client["predicted"][unit] <= limit for unit, limit in client["budget"].items())
        assert client["predicted"]["bytes_up"] == client["bytes_up"]
    assert clients["client-00"]["mask"] == [0]
    assert min(clients["client-01"]["mask"]) > 0
    assert set(clients["client-02"]["budget"]) == {"flops", "bytes_up"}
    assert len(clients["client-03"]["mask"]) == 3
