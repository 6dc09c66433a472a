"""What a run says last: what came out, and who stands out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from fedstrata.cli.session import last_words
from fedstrata.domain.records import RoundRecord
from fedstrata.server.run import RunResult
from report.synthetic_run import write_run


def ended(folder: Path, *odd: str) -> list[str]:
    """Return the last words of a run in which these clients keep a high loss."""

    def change(record: RoundRecord) -> RoundRecord:
        clients = tuple(replace(c, loss_mean=9.0) if c.client in odd else c for c in record.clients)
        return replace(record, clients=clients)

    write_run(folder, rounds=4, change=change)
    summary = json.loads((folder / "summary.json").read_text())
    final = {"accuracy": 0.5, "loss": 1.0, "round": 4}
    more = {
        "baseline": None,
        "final": final,
        "method": "top",
        "planned_rounds": 4,
        "bytes_down": 5,
        "failures": 0,
        "over_memory": {},
    }
    return list(last_words(RunResult(folder, "finished", {**summary, **more, "skipped": 0, "abandoned": 0}, {})))


def test_who_stands_out_is_one_line(tmp_path: Path) -> None:
    said = ended(tmp_path / "a", "client-04")
    assert said[1] == (
        "warning: client-04 stands out: its training loss is 9 where the median client has 1.7; look at its labels "
        f"(fedstrata report {tmp_path / 'a'})"
    )


def test_of_several_one_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    said = ended(tmp_path / "a", "client-04", "client-07")
    assert [line for line in said if "stands out" in line] == [said[1]]
    assert "client-04 stands out" in said[1]
    assert "; 1 more in the report" in said[1]


def test_where_nobody_stands_out_nothing_is_said(tmp_path: Path) -> None:
    assert not any("stands out" in line for line in ended(tmp_path / "a"))


def test_a_command_to_copy_takes_a_folder_as_a_shell_does(tmp_path: Path) -> None:
    said = ended(tmp_path / "my runs", "client-04")
    assert sum(f"(fedstrata report '{tmp_path}/my runs')" in line for line in said) == 2
