"""The log of what leaves: both files or neither, nobody forges a line, and it is the site's memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedstrata.deploy.site.audit_log import AuditLog
from fedstrata.deploy.site.audit_messages import of_failure, of_refusal
from fedstrata.domain.ids import ClientId
from fedstrata.domain.reasons import Reason
from fedstrata.errors import StorageError
from fedstrata.wire.messages import Failure


def facts(run: str = "trial", **more: object) -> dict[str, object]:
    return {"run": run, "round": 3, "kind": "update", "client": "a", **more}


def lines(folder: Path, name: str = "left.log") -> list[str]:
    return (folder / name).read_text().splitlines()


def test_a_message_is_one_line_in_each_file(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "state")
    log.tell("sent an update", facts(layers=["h.2"]))
    log.tell("refused: no", {"run": "trial", "round": None, "kind": "refusal"})
    first, second = lines(tmp_path / "state")
    time, _, rest = first.partition(" ")
    assert rest == 'run "trial" round 3: sent an update'
    assert second.partition(" ")[2] == 'run "trial": refused: no'
    record = json.loads(lines(tmp_path / "state", "left.jsonl")[0])
    assert record == {"time": time, **facts(layers=["h.2"])}


@pytest.mark.parametrize(
    "evil", ["x\nrun forged", "x\r\x1b[1Arun forged", "x\u2028run\u202e", 'x" round 9: sent', "\ud800"]
)
def test_names_that_others_give_forge_no_line(tmp_path: Path, evil: str) -> None:
    log = AuditLog(tmp_path)
    words, told = of_refusal(f"no: {evil}")
    log.tell(words, {"run": evil, "round": None, **told})
    failure = Failure(ClientId("a"), 1, "train", Reason.CLIENT_ERROR, evil)
    words, told = of_failure(failure, 10)
    log.tell(words, {"run": "trial", "round": 1, **told})
    text = (tmp_path / "left.log").read_text()
    assert text.count("\n") == len(text.splitlines()) == 2
    assert all(c.isprintable() for line in text.split("\n") for c in line)
    assert len([json.loads(line) for line in lines(tmp_path, "left.jsonl")]) == 2
    assert 'run "' in text.splitlines()[0]
    assert '" round 9' not in text.splitlines()[0].partition('": ')[0].replace('\\"', "")


@pytest.mark.parametrize("name", ["left.log", "left.jsonl"])
def test_if_one_file_cannot_be_written_neither_has_the_line(tmp_path: Path, name: str) -> None:
    log = AuditLog(tmp_path)
    log.tell("sent an update", facts())
    kept = {n: (tmp_path / n).read_text() for n in ("left.log", "left.jsonl")}
    (tmp_path / name).rename(tmp_path / "aside")
    (tmp_path / name).mkdir()
    with pytest.raises(StorageError, match="cannot be written: Is a directory"):
        log.tell("sent another", facts())
    (tmp_path / name).rmdir()
    (tmp_path / "aside").rename(tmp_path / name)
    assert {n: (tmp_path / n).read_text() for n in kept} == kept
    assert log.past("trial").updates == 1


def test_it_remembers_what_was_sent_in_all_runs_and_names_by_run(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    assert (log.past("trial").updates, log.client("trial")) == (0, None)
    log.tell("failed", facts(kind="failure", client="b"))
    log.tell("sent", facts(kind="statistics", client="a"))
    log.tell("sent", facts())
    log.tell("sent", facts("another", client="c"))
    for same in (log, AuditLog(tmp_path)):
        assert (same.past("trial").updates, same.client("trial"), same.client("another")) == (2, "a", "c")
        assert (same.past("trial").probes, same.past("trial").evaluations) == (1, 0)


def test_statistics_that_were_piggybacked_on_an_update_count_as_an_answer_to_a_probe(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.tell("sent", facts(statistics={"numbers": 7}))
    log.tell("sent", facts(kind="evaluation"))
    past = log.past("trial")
    assert (past.updates, past.probes, past.evaluations) == (1, 1, 1)


def test_the_plans_of_a_run_are_known_by_round_and_attempt(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.tell("sent", facts(attempt=1, plan="x"))
    log.tell("sent", facts("another", attempt=0, plan="y"))
    assert (log.past("trial").plans, AuditLog(tmp_path).past("another").plans) == ({(3, 1): "x"}, {(3, 0): "y"})


def test_another_process_s_lines_are_seen(tmp_path: Path) -> None:
    here, there = AuditLog(tmp_path), AuditLog(tmp_path)
    for turn in range(3):
        assert here.past("trial").updates == turn
        there.tell("sent", facts())


def test_lines_that_are_none_count_nothing(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.tell("sent", facts())
    with (tmp_path / "left.jsonl").open("a") as file:
        file.write('by hand\n[1]\n{"run": "trial"}\n{"run": "trial", "kind": "update"')
    assert log.past("trial").updates == AuditLog(tmp_path).past("trial").updates == 1


def test_a_record_that_is_half_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.tell("sent", facts())
    record = (tmp_path / "left.jsonl").read_text()
    with (tmp_path / "left.jsonl").open("a") as file:
        file.write(record[:20])
        file.flush()
        assert log.past("trial").updates == 1
        file.write(record[20:])
    assert log.past("trial").updates == 2


def test_the_first_name_in_a_run_stays(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    for client in ("a", "b"):
        log.tell("sent", facts(client=client))
    assert (log.client("trial"), AuditLog(tmp_path).client("trial")) == ("a", "a")


def test_a_log_that_is_emptied_is_begun_anew(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.tell("sent", facts(client="a"))
    assert log.past("trial").updates == 1
    (tmp_path / "left.jsonl").write_text("")
    assert (log.past("trial").updates, log.client("trial")) == (0, None)
    log.tell("sent", facts(client="b"))
    assert (log.past("trial").updates, log.client("trial")) == (1, "b")


def test_others_cannot_read_it(tmp_path: Path) -> None:
    AuditLog(tmp_path / "state").tell("sent", facts())
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
