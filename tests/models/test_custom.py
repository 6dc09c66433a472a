from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from fedstrata.errors import ModelError
from fedstrata.imports import importable
from fedstrata.models.custom import call_model_function, load_custom, model_function
from fedstrata.models.fake import fake_model

SOURCE = """
from torch import nn

def block():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU())

def small_net(num_labels):
    return nn.ModuleDict({"h": nn.ModuleList([block(), block()]), "head": nn.Linear(4, num_labels)})

def no_net(num_labels):
    return "net"

def broken(num_labels):
    raise ValueError("no weights here")
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_custom_nets.py").write_text(SOURCE)
    (tmp_path / "torn_nets.py").write_text("import no_such_package_at_all")
    monkeypatch.chdir(tmp_path)


def test_function_is_found_in_the_working_directory_and_called_with_the_number_of_labels() -> None:
    loaded = load_custom("my_custom_nets:small_net", task="image-classification", labels=["a", "b", "c"])
    assert loaded.layers.names == ("h.0", "h.1")
    assert loaded.model.get_parameter("head.weight").shape == (3, 4)
    assert set(loaded.new_head) == {name for name, _ in loaded.model.named_parameters()}


def test_weights_depend_on_the_seed_alone() -> None:
    def head(seed: int) -> torch.Tensor:
        spec = "my_custom_nets:small_net"
        loaded = load_custom(spec, task="image-classification", labels=["a", "b"], seed=seed)
        return loaded.model.get_parameter("head.weight")

    before = torch.get_rng_state()
    assert torch.equal(head(1), head(1))
    assert not torch.equal(head(1), head(2))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("my_custom_nest:small_net", "did you mean 'my_custom_nets'"),
        ("my_custom_nets:smal_net", "no function 'smal_net'; did you mean 'small_net'"),
        ("my_custom_nets:no_net", "my_custom_nets.py:10) returned str; it must return a torch.nn.Module"),
        ("my_custom_nets:broken", "failed: ValueError: no weights here in broken ("),
        ("torn_nets:net", "torn_nets.py:"),
        ("no_such.nets:net", "module 'no_such.nets'"),
        ("my_custom_nets", "not of the form module:function"),
    ],
)
def test_wrong_spelling_is_an_error_with_a_hint(spec: str, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_custom(spec, task="image-classification", labels=["a", "b"])
    assert words in str(caught.value)


def test_the_configuration_s_folder_comes_before_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder, outputs in (("project", 7), ("elsewhere", 9)):
        (tmp_path / folder).mkdir()
        text = f"from torch import nn\n\n\ndef net(labels):\n    return nn.Linear({outputs}, labels)\n"
        (tmp_path / folder / "nets_of_two_folders.py").write_text(text)
    monkeypatch.chdir(tmp_path / "elsewhere")
    with importable(tmp_path / "project"):
        assert call_model_function("nets_of_two_folders:net", 2).in_features == 7
        with pytest.raises(ModelError, match="did you mean 'nets_of_two_folders'"):
            call_model_function("nets_of_two_folder:net", 2)


def test_what_the_users_function_froze_stays_frozen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "half_frozen.py").write_text(
        "from torch import nn\n\n\ndef net(labels):\n"
        "    body = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))\n"
        "    body[0].requires_grad_(False)\n"
        "    return nn.Sequential(body, nn.Linear(4, labels))\n"
    )
    monkeypatch.chdir(tmp_path)
    loaded = load_custom("half_frozen:net", task="image-classification", labels=["a", "b"])
    assert (loaded.layers.names, [b.name for b in loaded.layers.never]) == (("0.1",), ["0.0"])
    assert fake_model("half_frozen:net").layers == loaded.layers


def test_a_package_that_fails_when_it_is_looked_into_is_a_model_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torn_package").mkdir()
    (tmp_path / "torn_package/__init__.py").write_text("raise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ModelError, match=r"package of module 'torn_package\.nets' cannot be imported: RuntimeError: no"
    ):
        model_function("torn_package.nets:make")


def test_the_program_that_is_running_may_hold_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    with pytest.raises(ModelError, match="module '__main__' has no function 'surely_not'"):
        model_function("__main__:surely_not")
