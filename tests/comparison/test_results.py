"""Results: what a run comes to, clients that train alone as one outcome, and a file that reads back as it was."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedstrata.comparison.results import (
    COLUMNS,
    CurvePoint,
    Outcome,
    is_results_file,
    merge_local_only,
    outcome_of,
    read_outcomes,
    write_outcomes,
)
from fedstrata.domain.ids import ClientId
from fedstrata.domain.records import Metrics, RoundRecord
from fedstrata.errors import CheckpointError, DataError
from fedstrata.runs.reading import read_run
from fedstrata.runs.records import Run
from report.synthetic_run import lost_attempt, write_run

BEFORE, AFTER = Metrics(0.2, 2.0, 50), Metrics(0.5, 1.25, 50)


def known(
    accuracies: Sequence[float], *, masks: Sequence[tuple[int, ...]] = ((0,), (0, 2)), own: float = 0.5
) -> Callable[[RoundRecord], RoundRecord]:
    """Return a change to rounds of two clients that send 100 bytes, are sent 300, and do 5 operations each."""

    def change(record: RoundRecord) -> RoundRecord:
        clients = tuple(
            replace(c, mask=mask, predicted={"flops": 5.0}) for c, mask in zip(record.clients, masks, strict=True)
        )
        return replace(
            record,
            clients=clients,
            test=Metrics(accuracies[record.round - 1], 1.25, 50),
            client_accuracy={c.client: own + 0.1 * i for i, c in enumerate(clients)},
            bytes_up=200,
            bytes_down=600,
            seconds=2.0,
        )

    return change


def a_run(folder: Path, accuracies: Sequence[float] = (0.25, 0.5), **options: object) -> Run:
    names = ("a", "b")
    made = write_run(
        folder,
        rounds=len(accuracies),
        names=names,
        layers=3,
        start=0.125,
        change=known(accuracies),
        **options,  # type: ignore[arg-type]
    )
    return read_run(made)


def told(run: Run) -> Outcome:
    return outcome_of(run, row="digits", size="small", method="consensus", budget="1 layer")


def test_an_outcome_says_where_a_run_began_and_ended(tmp_path: Path) -> None:
    found = told(a_run(tmp_path / "run", seed=3))
    assert (found.row, found.size, found.method, found.budget) == ("digits", "small", "consensus", "1 layer")
    assert (found.seed, found.rounds, found.baseline, found.accuracy, found.loss) == (3, 2, 0.125, 0.5, 1.25)


def test_clients_stand_by_their_own_held_out_rows(tmp_path: Path) -> None:
    found = told(a_run(tmp_path / "run"))
    assert (found.worst_client, found.median_client, found.best_client) == (0.5, 0.55, 0.6)
    none = told(a_run(tmp_path / "none", fairness=False))
    assert (none.worst_client, none.median_client, none.best_client) == (None, None, None)


def test_layers_count_client_rounds_and_name_those_that_nobody_trained(tmp_path: Path) -> None:
    names = [f"vit.encoder.layer.{i}" for i in range(3)]
    found = told(a_run(tmp_path / "run"))
    assert found.layers == dict(zip(names, (4, 0, 2), strict=True))
    assert found.client_rounds == 4


def test_bytes_time_and_curve_count_what_an_abandoned_attempt_cost(tmp_path: Path) -> None:
    lost = lost_attempt(2)
    found = told(a_run(tmp_path / "run", abandoned=(lost,)))
    assert (found.bytes_up, found.bytes_down, found.seconds) == (400 + lost.bytes_up, 1200, 4.0 + lost.seconds)
    assert found.curve == (
        CurvePoint(0, 0.125, 0, 0.0),
        CurvePoint(1, 0.25, 200, 10.0),
        CurvePoint(2, 0.5, 400 + lost.bytes_up, 20.0),
    )
    assert found.flops == 20.0


def test_without_prices_there_are_no_operations(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", rounds=1, priced=False))
    found = told(run)
    assert found.flops is None
    assert [point.flops for point in found.curve] == [None, None]


def test_a_run_that_was_not_evaluated_has_no_accuracy(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", rounds=1, start=None, change=lambda r: replace(r, test=None)))
    found = told(run)
    assert (found.accuracy, found.loss, found.baseline, found.curve) == (None, None, None, ())


def test_clients_alone_are_one_outcome_that_sends_nothing(tmp_path: Path) -> None:
    runs = {}
    for client, accuracy, own in (("a", 0.25, 0.5), ("b", 0.5, 1.0), ("c", 0.75, 0.75)):
        change = known([accuracy], masks=((0,),), own=own)
        runs[client] = read_run(
            write_run(tmp_path / client, rounds=1, names=(client,), layers=2, start=0.125, change=change)
        )
    found = merge_local_only(runs, row="digits", size="", method="local only", budget="")
    assert (found.accuracy, found.baseline, found.loss) == (0.5, 0.125, 1.25)
    assert (found.worst_client, found.median_client, found.best_client) == (0.5, 0.75, 1.0)
    assert (found.bytes_up, found.bytes_down, found.flops, found.seconds) == (0, 0, 15.0, 6.0)
    assert list(found.layers.values()) == [3, 0]
    assert found.client_rounds == 3
    assert found.curve == (CurvePoint(0, 0.125, 0, 0.0), CurvePoint(1, 0.5, 0, 15.0))


def test_clients_alone_count_their_own_rows_only(tmp_path: Path) -> None:
    def change(record: RoundRecord) -> RoundRecord:
        return replace(record, client_accuracy={ClientId("a"): 0.25, ClientId("b"): 1.0})

    runs = {
        c: read_run(write_run(tmp_path / c, rounds=1, names=(c,), change=change, method="local")) for c in ("a", "b")
    }
    found = merge_local_only(runs, row="r", size="", method="local only", budget="")
    assert (found.worst_client, found.best_client) == (0.25, 1.0)


def test_clients_alone_of_different_seeds_are_not_put_together(tmp_path: Path) -> None:
    runs = {c: read_run(write_run(tmp_path / c, seed=i, rounds=1, names=(c,))) for i, c in enumerate("ab")}
    with pytest.raises(CheckpointError, match=r"the runs of a and b alone differ in seed \(0 and 1\)"):
        merge_local_only(runs, row="r", size="", method="local only", budget="")
    with pytest.raises(CheckpointError, match="no runs of single clients"):
        merge_local_only({}, row="r", size="", method="local only", budget="")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SHARES = st.floats(0, 1)
AMOUNTS = st.floats(0, allow_infinity=False, allow_nan=False)
COUNTS = st.integers(0, 2**70)
POINTS = st.builds(CurvePoint, COUNTS, SHARES, COUNTS, st.none() | AMOUNTS)
OUTCOMES = st.builds(
    Outcome,
    row=TEXTS,
    size=TEXTS,
    method=TEXTS,
    budget=TEXTS,
    seed=st.integers(),
    rounds=COUNTS,
    accuracy=st.none() | SHARES,
    loss=st.none() | st.floats(allow_nan=False),
    baseline=st.none() | SHARES,
    worst_client=st.none() | SHARES,
    median_client=st.none() | SHARES,
    best_client=st.none() | SHARES,
    bytes_up=COUNTS,
    bytes_down=COUNTS,
    flops=st.none() | AMOUNTS,
    seconds=AMOUNTS,
    client_rounds=COUNTS,
    layers=st.dictionaries(TEXTS.filter(bool), COUNTS, max_size=3),
    curve=st.lists(POINTS, max_size=3).map(tuple),
)


@given(outcomes=st.lists(OUTCOMES, max_size=3))
def test_a_file_reads_back_as_it_was(outcomes: list[Outcome], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("results") / "results.csv"
    write_outcomes(path, outcomes)
    assert read_outcomes(path) == tuple(outcomes)
    assert [list(o.layers) for o in read_outcomes(path)] == [list(o.layers) for o in outcomes]
    assert is_results_file(path)


ONE = Outcome(
    "digits", "small", "top", "1", 3, 2, 0.5, 1.25, 0.125, None, None, None, 400, 600, 1e9, 2.5, 9,
    {"a b:c": 4, "d": 0},
    (CurvePoint(0, 0.125, 0, None), CurvePoint(2, 0.5, 400, 1e9)),
)  # fmt: skip


def test_a_line_is_what_the_format_says(tmp_path: Path) -> None:
    write_outcomes(tmp_path / "results.csv", [ONE])
    head, line = (tmp_path / "results.csv").read_text().splitlines()
    assert head.startswith("row,size,method,budget,seed,rounds,accuracy,loss,baseline,worst_client")
    numbers = "3,2,0.5,1.25,0.125,,,,400,600,1000000000.0,2.5,9"
    assert line == f"digits,small,top,1,{numbers},a%20b%3Ac:4 d:0,0:0.125:0: 2:0.5:400:1000000000.0"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",0.5,1.25,", ",1.5,1.25,", "results.csv:2: accuracy is '1.5', not a share from 0 to 1"),
        (",3,2,", ",x,2,", "results.csv:2: seed is 'x', not a whole number"),
        ("d:0", "d", "results.csv:2: layers is 'a%20b%3Ac:4 d', not name:count, parted by spaces"),
        ("2:0.5:400:1", "2:0.5:1", "not round:accuracy:bytes_up:flops, parted by spaces"),
        ("400,600,", "400,", "results.csv:2: 18 cells, but the header has 19"),
        ("row,size", "row,sizes", "results.csv:1: column 'size' is missing"),
        ("row,size", "row,row,size", "results.csv:1: column 'row' is there twice"),
        ("row,size", "row,sise,size", "results.csv:1: column 'sise' is no column of results; did you mean 'size'?"),
        ("digits", '"digits', "results.csv:2: unexpected end of data"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_outcomes(path, [ONE])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError) as error:
        read_outcomes(path)
    assert said in str(error.value)


def test_a_file_that_is_absent_or_of_others_is_no_results_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_outcomes(tmp_path / "no.csv")
    (tmp_path / "metrics.csv").write_text("round,accuracy\n")
    assert not is_results_file(tmp_path / "metrics.csv")
    assert not is_results_file(tmp_path / "no.csv")
    assert COLUMNS[-1] == "curve"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "\uff1d1", "'=1", "''@", "'", "it's", "top"]
)
def test_no_text_is_a_formula_to_a_spreadsheet_and_each_reads_back(tmp_path: Path, text: str) -> None:
    run = read_run(write_run(tmp_path / "run", rounds=1, names=("a",), layers=1))
    outcome = replace(outcome_of(run, row=text, size=text, method=text, budget=text), layers={f"-{text}": 3})
    write_outcomes(tmp_path / "results.csv", [outcome])
    assert read_outcomes(tmp_path / "results.csv") == (outcome,)
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        _, line = csv.reader(file)
    texts = [cell for cell in line if not _is_number(cell)]
    assert len(texts) > 4
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d")) for cell in texts)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell not in ("+1", "-1")
