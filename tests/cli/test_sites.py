"""``fedstrata sites``: what a run folder says of each site, and who the SuperLink says is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fedstrata.deploy.flower import services
from fedstrata.deploy.flower.sites import SiteBook
from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.engines.flower.traffic import Exchange
from fedstrata.errors import TrainingError
from fedstrata.runs.folder import RunFolder
from fedstrata.runs.sites_file import write_sites
from fedstrata.wire.declaration import Declaration

Cli = Callable[..., Any]
A, B, C = (ClientId(f"hospital-{letter}") for letter in "abc")
DOWN = "Connection to the SuperLink is unavailable"
WORDS = {
    A: Declaration(1204, 134, {"layers": 2.0, "bytes_up": 30e6}, (LayerName("h.0"),)),
    B: Declaration(890, 99, {"layers": 2.0}),
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run in its second round: two sites joined, one of them trains, and one is away."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.resolved.yaml").write_text("flower: {superlink: hospitals}\n")
    write_sites(RunFolder(folder), WORDS)
    book = SiteBook()
    for name in (A, B):
        book(Exchange(name, "join", 0, (), 0, 0, 1.0))
    book(Exchange(C, "join", 0, (), 0, 0, 1.0, outcome="its file cannot be read"))
    book.about(A, node="11", rows=1204, held_out=134, budget="2 layers, 30.00 MB up", refuses=["h.0"], device="cpu")
    book.about(B, node="22", rows=890, held_out=99, budget="2 layers", refuses=[], device="cuda")
    book.about(C, absent="its file cannot be read")
    book.folder = folder
    book(Exchange(A, "train", 1, (), 1_000_000, 2_500_000, 1.0))
    book(Exchange(A, "evaluate", 1, (), 500_000, 300, 1.0))
    book(Exchange(B, "train", 2, (), 1_000_000, 0, 1.0, outcome="Flower reports error 5: gone"))
    return folder


class SuperLink:
    """What Flower's command would answer, and what it was asked."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, object]] = [node(11, "online"), node(22, "offline"), node(33, "unregistered")]
        self.down = False
        self.asked: list[Sequence[str]] = []

    def __call__(self, arguments: Sequence[str], **_: object) -> Mapping[str, Any]:
        self.asked.append(arguments)
        if self.down:
            raise TrainingError(f"flwr supernode failed: {DOWN}")
        return {"success": True, "nodes": self.nodes}


def node(number: int, status: str) -> dict[str, object]:
    """A node as ``flwr supernode list --format json`` writes it."""
    times = {"online-at": "N/A", "offline-at": "N/A", f"{status}-at": f"2026-11-24 19:06:{number}Z"}
    return {"node-id": str(number), "owner-name": "none", "status": status, **times}


@pytest.fixture
def superlink(monkeypatch: pytest.MonkeyPatch) -> SuperLink:
    link = SuperLink()
    monkeypatch.setattr(services, "flwr_json", link)
    return link


def rows(out: str) -> dict[str, list[str]]:
    """Return the cells of each line of a table by the first of them."""
    cells = [line.split() for line in out.splitlines() if line.startswith("hospital-") and "." in line]
    return {line[0]: line[1:] for line in cells}


def test_each_site_has_a_line(cli: Cli, run: Path, superlink: SuperLink) -> None:
    said = cli("sites", str(run))
    assert (said.code, said.err) == (0, "")
    assert rows(said.out) == {
        "hospital-a": ["yes", "1,204", "2", "layers,", "h.0", "evaluate", "1", "1.50", "2.50"],
        "hospital-b": ["no", "890", "2", "layers", "-", "join", "1.00", "0.00"],
        "hospital-c": ["unknown", "-", "-", "-", "-", "0.00", "0.00"],
    }
    assert superlink.asked == [["supernode", "list", "hospitals"]]


def test_what_went_wrong_is_said_below_with_rounds_as_people_count(cli: Cli, run: Path, superlink: SuperLink) -> None:
    assert cli("sites", str(run)).out.splitlines()[-2:] == [
        "hospital-b failed last at train 2: Flower reports error 5: gone",
        "hospital-c takes no part: its file cannot be read",
    ]


def test_it_fits_80_columns(cli: Cli, run: Path, superlink: SuperLink) -> None:
    assert max(map(len, cli("sites", str(run)).out.splitlines())) <= 80


def test_the_superlink_may_be_named(cli: Cli, run: Path, superlink: SuperLink) -> None:
    cli("sites", str(run), "--superlink", "other")
    (run / "config.resolved.yaml").write_text("flower: {superlink: null}\n")
    cli("sites", str(run))
    assert superlink.asked == [["supernode", "list", "other"], ["supernode", "list"]]


def test_without_a_superlink_the_table_is_there_and_a_note(cli: Cli, run: Path, superlink: SuperLink) -> None:
    superlink.down = True
    said = cli("sites", str(run))
    assert (said.code, said.err) == (0, "")
    assert [cells[0] for cells in rows(said.out).values()] == ["unknown"] * 3
    assert said.out.splitlines()[-1] == f"who is online is not known: flwr supernode failed: {DOWN}"


def test_without_flower_the_table_is_there_and_a_note(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fedstrata.deploy.flower.services", None)
    assert cli("sites", str(run)).out.splitlines()[-1] == (
        "who is online is not known: Flower is not installed; pip install 'fedstrata[flower]'"
    )


def test_a_superlink_that_knows_other_nodes_leaves_sites_unknown(cli: Cli, run: Path, superlink: SuperLink) -> None:
    superlink.nodes = [node(44, "online"), node(11, "online")]
    said = cli("sites", str(run))
    assert [cells[0] for cells in rows(said.out).values()] == ["yes", "unknown", "unknown"]
    assert said.out.splitlines()[-1] == "the SuperLink has no longer the connection by which the run knew hospital-b"


def test_json_has_everything_for_programs(cli: Cli, run: Path, superlink: SuperLink) -> None:
    said = json.loads(cli("sites", str(run), "--json").out)
    assert (said["run"], said["note"]) == (str(run), "")
    assert said["sites"][0] == {
        "name": "hospital-a",
        "online": True,
        "rows": 1204,
        "held_out": 134,
        "budget": "2 layers, 30.00 MB up",
        "refuses": ["h.0"],
        "device": "cpu",
        "node": "11",
        "bytes_down": 1_500_000,
        "bytes_up": 2_500_300,
        "last": {"phase": "evaluate", "round": 1, "why": ""},
        "failure": None,
        "absent": "",
        "connection": {"node": "11", "status": "online", "since": "2026-11-24 19:06:11Z"},
    }
    assert [site["online"] for site in said["sites"]] == [True, False, None]
    assert said["sites"][1]["failure"] == {"phase": "train", "round": 2, "why": "Flower reports error 5: gone"}


def test_bytes_are_those_of_all_sessions(cli: Cli, run: Path, superlink: SuperLink) -> None:
    resumed = SiteBook(folder=run)
    resumed(Exchange(A, "train", 2, (), 250_000, 40_000, 1.0))
    assert json.loads((run / "status.json").read_text())["sites"][A]["bytes_down"] == 250_000
    assert rows(cli("sites", str(run)).out)["hospital-a"][-2:] == ["1.75", "2.54"]


def log(run: Path, *events: Mapping[str, object]) -> None:
    (run / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + '{"half": ')


def failed(name: ClientId, round: int, reason: str | None, message: str | None) -> dict[str, object]:
    return {"event": "client", "client": name, "round": round, "failure": reason, "failure_message": message}


def test_a_failure_that_the_event_log_knows_is_said_with_its_reason(cli: Cli, run: Path, superlink: SuperLink) -> None:
    log(run, failed(A, 1, "REFUSED", "no scores"), failed(B, 1, "LATE", "slow"), failed(A, 2, None, None))
    assert cli("sites", str(run)).out.splitlines()[-3:-1] == [
        "hospital-a failed last at round 1: REFUSED: no scores",
        "hospital-b failed last at train 2: Flower reports error 5: gone",
    ]
    log(run, failed(B, 2, "LATE", "slow"))
    assert "hospital-b failed last at round 2: LATE: slow" in cli("sites", str(run)).out


def test_whoever_was_lost_in_an_abandoned_attempt_failed(cli: Cli, run: Path, superlink: SuperLink) -> None:
    log(run, {"event": "abandoned", "round": 2, "phase": "probe", "failures": {A: "LATE"}})
    assert "hospital-a failed last at probe 2: LATE" in cli("sites", str(run)).out


def test_a_run_whose_sites_have_done_nothing_yet_is_known_by_what_they_declared(
    cli: Cli, run: Path, superlink: SuperLink
) -> None:
    for name in ("status.json", "wire.jsonl"):
        (run / name).unlink()
    assert rows(cli("sites", str(run)).out) == {
        "hospital-a": ["unknown", "1,204", "layers", "2,", "h.0", "-", "0.00", "0.00"],
        "hospital-b": ["unknown", "890", "layers", "2", "-", "-", "0.00", "0.00"],
    }


@pytest.mark.parametrize("names", [["h.0", "h.1", "h.2", "h.3"]])
def test_of_many_refused_layers_two_are_shown(cli: Cli, run: Path, superlink: SuperLink, names: list[str]) -> None:
    book = SiteBook(folder=run)
    book.about(A, refuses=names)
    book.write()
    out = cli("sites", str(run)).out
    assert "2 more" in out
    assert "h.2" not in out


def test_without_a_run_the_superlink_s_nodes_are_listed(cli: Cli, superlink: SuperLink) -> None:
    superlink.nodes.append({**node(44, "registered"), "registered-at": "N/A"})
    said = cli("sites", "--superlink", "hospitals")
    assert [line.split() for line in said.out.splitlines() if line[:1].isdigit()] == [
        ["11", "online", "2026-11-24", "19:06:11Z"],
        ["22", "offline", "2026-11-24", "19:06:22Z"],
        ["44", "registered", "-"],
    ]
    assert (
        said.out.splitlines()[-1]
        == "a SuperLink knows nodes by number; the names of a run's sites: fedstrata sites RUN"
    )


def test_nodes_as_json(cli: Cli, superlink: SuperLink) -> None:
    assert json.loads(cli("sites", "--json").out)["nodes"][1] == {
        "node": "22",
        "status": "offline",
        "since": "2026-11-24 19:06:22Z",
    }


def test_a_superlink_without_nodes_says_how_to_register_one(cli: Cli, superlink: SuperLink) -> None:
    superlink.nodes = []
    assert "flwr supernode register" in cli("sites").out


def test_without_a_run_a_superlink_that_does_not_answer_is_an_error(cli: Cli, superlink: SuperLink) -> None:
    superlink.down = True
    said = cli("sites")
    assert (said.code, said.err) == (4, f"fedstrata: flwr supernode failed: {DOWN}\n")


def test_a_folder_that_is_not_there_is_an_error(cli: Cli, superlink: SuperLink) -> None:
    said = cli("sites", "runs/none")
    assert said.code == 4
    assert said.err == "fedstrata: there is no run folder runs/none; pass the folder that `fedstrata run` wrote\n"
    assert superlink.asked == []


def test_a_run_without_sites_is_an_error(cli: Cli, tmp_path: Path, superlink: SuperLink) -> None:
    (tmp_path / "local").mkdir()
    said = cli("sites", "local")
    assert said.code == 4
    assert "local is not the folder of a run over Flower: it has neither status.json nor sites.json" in said.err


@pytest.mark.parametrize("text", ["{", "[1]", '{"sites": [1]}', '{"sites": {"a": {"last": "x"}}}', "\udcff"])
def test_a_damaged_file_is_an_error_with_its_name(cli: Cli, run: Path, superlink: SuperLink, text: str) -> None:
    (run / "status.json").write_bytes(text.encode(errors="surrogateescape"))
    said = cli("sites", str(run))
    assert said.code == 4
    assert "status.json" in said.err
    assert len(said.err.splitlines()) == 1


def test_what_the_superlink_answers_besides_nodes_is_an_error_of_flower_s(
    cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(['{"success": false, "error-message": "Using SuperLink\\n\\nNo such connection."}', "no JSON"])
    monkeypatch.setattr(services, "flwr", lambda *_, **__: next(answers))
    assert cli("sites").err == "fedstrata: flwr supernode failed: No such connection\n"
    assert cli("sites").err == "fedstrata: flwr supernode answers something else than JSON: no JSON\n"


@pytest.mark.parametrize("value", [None, "x", -1.5, [1], {"a": []}, 10**99])
@pytest.mark.parametrize(
    ("file", "path"),
    [
        *(("status.json", ("sites", A, key)) for key in ("rows", "budget", "refuses", "device", "bytes_up", "last")),
        *(("status.json", where) for where in (("sites",), ("sites", A), ("sites", C, "absent"))),
        *(("sites.json", where) for where in ((A,), (B, "budget"))),
        *(("wire.jsonl", (key,)) for key in ("client", "bytes_down")),
        *(("events.jsonl", (key,)) for key in ("client", "failure", "round")),
    ],
)
def test_a_folder_that_somebody_changed_is_no_bug(
    cli: Cli, run: Path, superlink: SuperLink, file: str, path: Sequence[str], value: object
) -> None:
    event = {"event": "client", "client": A, "round": 1, "failure": "LATE", "failure_message": "too late"}
    (run / "events.jsonl").write_text(json.dumps(event))
    values = json.loads((run / file).read_text().splitlines()[0] if file.endswith("l") else (run / file).read_text())
    inside = values
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    (run / file).write_text(json.dumps(values))
    done = cli("sites", str(run))
    assert done.code in (0, 4)
    assert "bug" not in done.err


def test_what_a_folder_says_moves_no_cursor(cli: Cli, run: Path, superlink: SuperLink) -> None:
    status = json.loads((run / "status.json").read_text())
    status["sites"][C]["absent"] = "its file\x1b[2J\x9b2J\rcannot be read"
    (run / "status.json").write_text(json.dumps(status))
    said = cli("sites", str(run))
    assert not set(said.out + said.err) & set("\x1b\x9b\r")
