"""The panel: who is evaluated, drawn once by the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from fedstrata.assembly.panel import draw_panel
from fedstrata.config.load import check_config
from fedstrata.domain.cost import Cost
from fedstrata.domain.ids import ClientId
from fedstrata.domain.seeds import Seeds
from fedstrata.domain.selection import ClientProfile
from fedstrata.errors import ConfigError
from small_runs import digits, essence, events, start

PROFILES = {ClientId(f"c{i:02}"): ClientProfile(5, Cost(), held_out=i % 3) for i in range(30)}
ABLE = [client for client, profile in PROFILES.items() if profile.held_out]


@pytest.mark.parametrize(("asked", "count"), [(1, 1), (7, 7), (20, 20), (0.5, 10), (0.001, 1), (1.0, 20)])
def test_so_many_clients_that_hold_rows_out_are_drawn_and_the_same_ones_every_time(
    asked: int | float, count: int
) -> None:
    panel = draw_panel(asked, PROFILES, Seeds(3))
    assert panel is not None
    assert (len(panel), list(panel)) == (count, sorted(set(panel)))
    assert set(panel) <= set(ABLE)
    assert panel == draw_panel(asked, dict(reversed(PROFILES.items())), Seeds(3))


def test_another_seed_draws_others_and_all_draws_nothing() -> None:
    assert draw_panel(7, PROFILES, Seeds(3)) != draw_panel(7, PROFILES, Seeds(4))
    assert draw_panel("all", PROFILES, Seeds(3)) is None


def test_every_client_is_as_likely_as_any_other() -> None:
    drawn = [client for seed in range(400) for client in draw_panel(5, PROFILES, Seeds(seed)) or ()]
    assert all(60 <= drawn.count(client) <= 140 for client in ABLE)  # 100 each, and a standard deviation of 8.7


@pytest.mark.parametrize(
    ("asked", "profiles", "message"),
    [
        (21, PROFILES, "it is 21, but 20 clients hold rows out to evaluate on; use 20 or fewer, or all"),
        (0.5, {ClientId("a"): ClientProfile(5, Cost(), 0)}, "set data.held_out, or leave it out"),
    ],
)
def test_more_than_hold_rows_out_are_refused(
    asked: int | float, profiles: dict[ClientId, ClientProfile], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        draw_panel(asked, profiles, Seeds(0))


@pytest.mark.parametrize("value", [0, 1.5, -0.1, True, "some"])
def test_a_number_that_is_none_is_refused(tmp_path: Path, value: Literal["some"] | float) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.clients"):
        check_config(digits(tmp_path, evaluate={"clients": value}))


def test_a_run_evaluates_its_panel_in_every_round_and_nothing_else_is_different(tmp_path: Path) -> None:
    for name, clients in (("all", "all"), ("panel", 2)):
        start(digits(tmp_path / name, evaluate={"clients": clients}))
    panel, whole = (
        [e["client_accuracy"] for kind in ("baseline", "round") for e in events(tmp_path / name, kind)]
        for name in ("panel", "all")
    )
    (names,) = {tuple(accuracy) for accuracy in panel}
    assert len(names) == 2
    assert panel == [{client: accuracy[client] for client in names} for accuracy in whole]
    assert essence(tmp_path / "panel")["model"] == essence(tmp_path / "all")["model"]
