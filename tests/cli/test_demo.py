"""The demo, with fewer rounds, methods, clients and steps: the same code, the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from fedstrata.cli import demo_runs, demo_setting
from fedstrata.domain.formatting import duration, megabytes, percent
from fedstrata.errors import ConfigError
from warm import warm_workers

ROOT = Path(__file__).parents[2]


def test_the_example_is_the_demos_setting() -> None:
    example = yaml.safe_load((ROOT / "examples" / "digits.yaml").read_text())
    demo = demo_setting.demo_config("input", "consensus", seed=0, output=Path("x"))
    for key in ("model", "data", "selector", "budget", "probe", "train", "seed"):
        assert example[key] == demo[key], key


def test_all_methods_share_everything_but_selector_and_budget() -> None:
    configs = [demo_setting.demo_config("label", m, seed=3, output=Path("x")) for m in demo_setting.METHODS]
    assert len(configs) == 7
    for config in configs:
        for key in set(config) - {"name", "selector", "budget"}:
            assert config[key] == configs[0][key]


def smaller(*given: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401  what the demo's setting takes
    """Return the demo's configuration for three clients and one step."""
    config = demo_setting.demo_config(*given, **options)
    config["data"]["partition"]["clients"], config["train"]["steps"] = 3, 1
    return config


def test_results_and_report_come_from_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_setting, "ROUNDS", 1)
    monkeypatch.setattr(demo_runs, "METHODS", {"full": "full", "consensus": "consensus"})
    monkeypatch.setattr(demo_runs, "MACHINE_SECONDS", 0.01)
    monkeypatch.setattr(demo_runs, "demo_config", smaller)
    console = Console(record=True, width=120)
    with warm_workers():
        results = demo_runs._results(demo_runs._play(tmp_path, 0, console))
    assert [(r["shift"], r["method"]) for r in results] == [
        ("input", "full"),
        ("input", "consensus"),
        ("label", "full"),
        ("label", "consensus"),
    ]
    for result in results:
        summary = json.loads(
            (demo_runs.folder(tmp_path, result["shift"], result["method"]) / "summary.json").read_text()
        )
        assert result["accuracy"] == summary["final"]["accuracy"]
        assert result["before"] == summary["baseline"]["accuracy"]
        assert (result["bytes_up"], result["seconds"]) == (
            summary["bytes_up"],
            pytest.approx(summary["seconds"], abs=1e-3),
        )
        expected = 6.0 if result["method"] == "full" else 1.0
        assert sum(result["selection"].values()) == pytest.approx(expected, abs=0.01)
    demo_runs._conclude(tmp_path, results, console)
    text = console.export_text()
    assert text.count("input shift") > 1
    for result in results:
        facts = {percent(result["accuracy"]), megabytes(result["bytes_up"]), duration(result["seconds"])}
        assert any(facts | {result["method"]} <= {x.strip() for x in line.split("  ")} for line in text.splitlines())
    assert (tmp_path / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")


def test_a_folder_that_is_not_a_demo_is_not_cleared(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="not a demo"):
        demo_runs.play_demo(tmp_path, seed=0)
    assert (tmp_path / "thesis.tex").read_text() == "precious"
