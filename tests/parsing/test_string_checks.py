"""Texts and numbers that are refused before anything is done with them; each was found by the fuzz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedstrata.assembly.run import prepare_run
from fedstrata.config.load import check_config
from fedstrata.errors import ConfigError
from small_runs import digits


def refused(**sections: object) -> str:
    with pytest.raises(ConfigError) as caught:
        check_config({**digits(Path("out")), **sections})
    return str(caught.value)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
@pytest.mark.parametrize("key", ["output", "base", "name", "devices"])
def test_a_text_that_no_file_can_hold_is_refused_by_its_key(key: str, text: str) -> None:
    assert refused(**{key: text}) == (
        f"{key}: holds a NUL character or half a surrogate pair, which no file can hold; leave it out"
    )


def test_an_odd_text_deep_inside_is_named() -> None:
    assert refused(selector={"kind": "fixed", "layers": ["0", "\0"]}).startswith("selector.layers.1: holds a NUL")


def test_an_odd_key_is_named_by_its_section() -> None:
    assert refused(train={"\ud800": 1}).startswith(r"train: key '\ud800' holds")


def test_a_text_is_at_most_4096_characters_long() -> None:
    assert refused(base="x" * 4097) == "base: is 4097 characters long; 4096 at most"


@pytest.mark.parametrize("name", ["/../../../x", "a/b", "a\\b", "", " ", "a\nb", "\x1b[31m", "x" * 201])
def test_a_name_that_is_no_part_of_a_file_name_is_refused(name: str) -> None:
    assert refused(name=name).startswith("name: a name is part of the run folder's")


@pytest.mark.parametrize("name", ["Mein Verfahren", "方法-1", "a.b"])
def test_a_name_may_be_in_any_script(name: str) -> None:
    assert check_config({**digits(Path("out")), "name": name}).config.name == name


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("train", {"steps": 1_000_001}),
        ("train", {"epochs": 1_000_001}),
        ("train", {"rounds": 2**31}),
        ("train", {"batch_size": 2**31}),
        ("probe", {"batches": 2**31}),
        ("evaluate", {"batch_size": 2**63}),
    ],
)
def test_a_number_that_no_run_can_use_is_refused(section: str, values: dict[str, Any]) -> None:
    assert refused(**{section: values}).startswith(f"{section}.{next(iter(values))}: has to be less than or equal to")


@pytest.mark.parametrize(
    ("output", "message"),
    [("~nobody-here/x", "Could not determine home directory; write the path out"), ("x" * 256, "256 bytes; 255 at")],
)
def test_an_output_that_cannot_be_a_folder_is_refused(output: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^output: .*{message}"):
        prepare_run(check_config(digits(Path(output), cost="layers")))


@pytest.mark.parametrize("path", ["~nobody-here/x", "x" * 256])
def test_a_model_path_that_cannot_be_a_folder_is_refused(path: str) -> None:
    values = {**digits(Path("out")), "model": {"path": path}}
    values["data"] = {"train": "a", "test": "b", "text": "t", "partition": {"kind": "iid", "clients": 2}}
    with pytest.raises(ConfigError, match=r"^model\.path: "):
        prepare_run(check_config(values))


def test_a_probe_of_one_row_is_refused_where_the_score_compares_rows(tmp_path: Path) -> None:
    values = digits(tmp_path / "out", score="signal-to-noise", probe={"batches": 1, "batch_size": 1}, cost="layers")
    with pytest.raises(ConfigError, match=r"^probe: the score compares rows"):
        prepare_run(check_config(values))
