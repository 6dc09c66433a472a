from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fedstrata.errors import ModelError
from fedstrata.models.folder_config import model_folder
from fedstrata.models.weights import INDEX, SINGLE, check_config, check_weights

CONVERT = r"save_pretrained\(folder\)"


def _folder(at: Path, *shards: str) -> Path:
    """Make a folder whose index names these files, each of which is there."""
    at.mkdir(parents=True)
    (at / "config.json").write_text("{}")
    (at / INDEX).write_text(json.dumps({"weight_map": {f"w{i}": name for i, name in enumerate(shards)}}))
    for name in shards:
        file = at / name
        if file.parent.is_dir():
            save_file({"w": torch.zeros(1)}, file)
    return at


def test_shards_in_the_folder_are_read(tmp_path: Path) -> None:
    check_weights(_folder(tmp_path / "m", "model-1.safetensors", "model-2.safetensors"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("w.bin", "is no safetensors file; pickled weights"),
        ("w.safetensors.pt", "is no safetensors file"),
        ("../w.safetensors", "is not inside the folder"),
        ("sub/w.safetensors", "is not inside the folder"),
        ("/w.safetensors", "is not inside the folder"),
        ("..\\w.safetensors", "is not inside the folder"),
        (".safetensors/../w.safetensors", "is not inside the folder"),
    ],
)
def test_an_index_names_plain_files_of_the_folder(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        check_weights(_folder(tmp_path / "m", "model-1.safetensors", name))


@pytest.mark.parametrize("name", [SINGLE, "model-1.safetensors"])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = _folder(tmp_path / "m", name)
    (folder / name).replace(tmp_path / "elsewhere.safetensors")
    (folder / name).symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ModelError, match="is a link to a file outside of the folder; copy the file there"):
        check_weights(folder)


def test_the_hubs_cache_keeps_its_links(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "models--x" / "snapshots" / "rev", "model-1.safetensors")
    blobs = tmp_path / "models--x" / "blobs"
    blobs.mkdir()
    (folder / "model-1.safetensors").replace(blobs / "0a1b")
    (folder / "model-1.safetensors").symlink_to("../../blobs/0a1b")
    check_weights(folder)


def test_a_folder_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(_folder(tmp_path / "m", "model-1.safetensors"))
    check_weights(tmp_path / "link")


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "m", "model-1.safetensors")
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(ModelError, match=r"names 'model-1\.safetensors', which is missing"):
        check_weights(folder)


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"weight_map": []}', '{"weight_map": {"w": 1}}', '{"weight_map": {}}']
)
def test_an_index_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    folder = _folder(tmp_path / "m", "model-1.safetensors")
    (folder / INDEX).write_text(content)
    with pytest.raises(ModelError, match="has no weight_map"):
        check_weights(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [("[" * 100_000, "more than 100 lists or mappings inside each other"), ("{", "Expecting property")],
)
def test_an_index_that_cannot_be_read_is_a_model_error(tmp_path: Path, content: str, words: str) -> None:
    folder = _folder(tmp_path / "m", "model-1.safetensors")
    (folder / INDEX).write_text(content)
    with pytest.raises(ModelError, match=words):
        check_weights(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json", "w.pt", "w.ckpt"])
def test_pickled_weights_alone_are_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).touch()
    with pytest.raises(ModelError, match=rf"has no model\.safetensors \(it has {name}; pickled .*{CONVERT}"):
        model_folder(tmp_path)


@pytest.mark.parametrize("whole", [True, False])
def test_an_adapter_is_no_model(tmp_path: Path, whole: bool) -> None:
    folder = _folder(tmp_path / "m", "model-1.safetensors")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "../elsewhere"}')
    (folder / "adapter_model.bin").touch()
    if not whole:
        (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"holds an adapter .* merge_and_unload"):
        model_folder(folder)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"transformers_weights": "adapter_model.bin"}, "names its weights 'adapter_model.bin'; rename the file"),
        ({"attn_implementation": "someone/kernel"}, "asks for 'someone/kernel' .* code from the hub"),
        ({"text_config": {"_attn_implementation": "a/b"}}, "code from the hub"),
        ([], "where a mapping is expected"),
    ],
)
def test_a_configuration_that_names_other_code_or_weights_is_refused(
    tmp_path: Path, config: object, words: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=words):
        model_folder(tmp_path, weights=False)


def test_an_ordinary_configuration_passes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"attn_implementation": "sdpa", "text_config": {"hidden_size": 8}}')
    check_config(tmp_path / "config.json")
