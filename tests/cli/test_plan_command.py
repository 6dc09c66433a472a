from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedstrata.cli.plan_table import show
from fedstrata.config.load import check_config
from fedstrata.planning.plan import Plan, make_plan
from small_runs import digits, write_config


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "240")  # tables in one part
    return str(write_config(tmp_path / "c.yaml", digits(Path("out"))))


@pytest.fixture(scope="module")
def plan() -> Plan:
    train = {"rounds": 2, "steps": 4, "batch_size": 8}
    return make_plan(check_config(digits(Path("out"), budget={"flops": "80%"}, train=train)), selectors=["full", "top"])


def printed(plan: Plan, width: int) -> str:
    out = io.StringIO()
    show(plan, "c.yaml", Console(file=out, width=width, highlight=False, force_terminal=True, color_system=None))
    return out.getvalue()


def test_plan_prints_its_tables_and_leaves_nothing_behind(cli: Callable[..., Any], config: str, tmp_path: Path) -> None:
    before = {p.name for p in tmp_path.iterdir()}
    said = cli("plan", config, "--selector", "top")
    assert (said.code, said.err) == (0, "")
    assert {p.name for p in tmp_path.iterdir()} <= before | {"cache"}
    lines = said.out.splitlines()
    assert lines[0] == f"plan of {config}: nothing is trained, no weights are read, no folder is made"
    assert any(
        re.match(r"vit\.layers\.0 to vit\.layers\.5 \(6 layers\), each +masks +33,472 +133\.89 kB", x) for x in lines
    )
    assert any(re.match(r"client-00 to client-02 \(3 clients\) +1 layer ", x) for x in lines)
    assert any(re.match(r"full +.* 4\.84 MB 100%", x) for x in lines)
    assert any(x.startswith("consensus: at least ") for x in lines)
    assert any(x.startswith("top ") for x in lines)
    assert any(x.startswith("warning: seconds need device profiles") for x in lines)
    assert max(map(len, lines)) <= 240


def test_json_has_every_client(cli: Callable[..., Any], config: str) -> None:
    said = cli("plan", config, "--json", "--set", "data.partition.clients=8")
    assert said.err == ""
    answer = json.loads(said.out)
    assert [c["client"] for c in answer["clients"]] == [f"client-{i:02}" for i in range(8)]
    assert answer["full"]["run"]["high"]["bytes_up"] == 2 * 8 * 806_440


def words(text: str) -> set[str]:
    return {word for word in text.split() if set(word) != {"─"}}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_table_is_whole_at_every_width(plan: Plan, width: int) -> None:
    wide, narrow = printed(plan, 1000), printed(plan, width)
    assert words(narrow) == words(wide)
    tables = narrow[narrow.index("Blocks:") : narrow.index("Shares are of full")]
    assert max(map(len, tables.splitlines())) <= width


def test_a_method_that_cannot_run_says_why(plan: Plan) -> None:
    text = printed(plan, 160)
    assert "full: see warnings" in text
    assert re.search(r"warning: full cannot run here: selector 'full' needs \S+ MFLOP of client client-00", text)


def test_planning_without_data_needs_numbers_that_go_together(cli: Callable[..., Any], config: str) -> None:
    said = cli("plan", config, "--rows", "10")
    assert said.code == 2
    assert said.err == (
        "fedstrata: --rows plan without data, which needs --clients and --rows, and --length for texts\n"
    )
    said = cli("plan", config, "--rows", "10", "--clients", "12")
    assert said.code == 0
    assert "data     planned without data, for 12 clients of 10 rows" in said.out
    assert "client-00 to client-11 (12 clients)" in said.out


def test_missing_data_are_one_error(cli: Callable[..., Any], config: str) -> None:
    said = cli(
        "plan",
        config,
        "--set",
        "data={train: no.csv, test_fraction: 0.1, image: i, partition: {kind: iid, clients: 2}}",
    )
    assert said.code == 3
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("flag", [(), ("--json",)])
def test_budgets_that_a_run_refuses_are_planned_and_refused(
    cli: Callable[..., Any], config: str, flag: tuple[str, ...]
) -> None:
    said = cli("plan", config, "--set", "budget={bytes_up: 4 kB}", *flag)
    assert said.code == 2
    assert "budget: no client can pay for a single layer" in said.err
    if flag:
        answer = json.loads(said.out)
        assert answer["refusals"] == [said.err.strip().removeprefix("fedstrata: ")]
        assert [c["affordable_layers"] for c in answer["clients"]] == [[], [], []]
    else:
        assert "none: head-only" in said.out


def test_a_budget_below_the_empty_mask_is_planned_and_refused(cli: Callable[..., Any], config: str) -> None:
    said = cli("plan", config, "--set", "budget={bytes_up: 3 kB}", "--selector", "top")
    assert said.code == 2
    assert "client client-00 cannot take part" in said.err
    assert "not even head-only" in said.out
    assert "warning: top cannot run here: client client-00: mask [] costs 3.11 kB up, over its budget" in said.out
