from __future__ import annotations

import ast
import builtins
import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from PIL import Image

import fedstrata
from fedstrata.data.vision import image_processor
from fedstrata.errors import ModelError
from fedstrata.models.fake import fake_model
from fedstrata.models.folder_config import load_config, load_processor, load_tokenizer
from fedstrata.models.hub import load_model
from small_models import save_bert

SOURCE = Path(fedstrata.__file__).parent
READERS = {"from_pretrained", "from_config", "load_adapter", "from_pt"}
PICKLING = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def _calls(tree: ast.AST) -> Iterator[str]:
    """Yield what a file calls as an attribute, with what it is an attribute of, and what it imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield f"{ast.unparse(node.value)}.{node.attr}"
        elif isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"import {node.module}"


def test_models_are_read_through_one_door_and_nothing_is_unpickled() -> None:
    found = []
    for file in SOURCE.rglob("*.py"):
        for name in _calls(ast.parse(file.read_text(encoding="utf-8"))):
            reads = name.rpartition(".")[2] in READERS and file.name != "pretrained.py"
            pickles = name in {"torch.load", "torch.hub.load", "np.load"} or name.removeprefix("import ") in PICKLING
            found += [f"{file.relative_to(SOURCE)}: {name}"] if reads or pickles else []
    assert found == []


@pytest.fixture
def armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return a model folder with a Python file that leaves a mark when it runs, and where; every question gets a y."""
    folder, mark = save_bert(tmp_path / "bert"), tmp_path / "ran"
    code = f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass C:\n    pass\n"
    (folder / "evil.py").write_text(code)
    monkeypatch.setattr(builtins, "input", lambda *_: "y")
    return folder, mark


def _change(file: Path, **values: Any) -> None:  # noqa: ANN401
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | values))


@pytest.mark.parametrize("kind", ["bert", "nobody-knows-it"])
def test_code_that_a_configuration_names_does_not_run(armed: tuple[Path, Path], kind: str) -> None:
    folder, mark = armed
    names = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification", "AutoTokenizer")
    _change(folder / "config.json", model_type=kind, auto_map=dict.fromkeys(names, "evil.C"))
    if kind == "bert":
        load_model(folder, task="text-classification", labels=["a", "b"])
        fake_model(str(folder), num_labels=2)
    else:
        with pytest.raises(ModelError, match=r"cannot read .*config\.json"):
            load_config(folder)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "Nobody"])
def test_code_that_a_tokenizer_names_does_not_run(armed: tuple[Path, Path], kind: str) -> None:
    folder, mark = armed
    auto = {"AutoTokenizer": ["evil.C", "evil.C"]}
    _change(folder / "tokenizer_config.json", tokenizer_class=kind, auto_map=auto)
    with suppress(ModelError) if kind == "Nobody" else nullcontext():
        assert load_tokenizer(folder)("fine day")["input_ids"]
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["ViTImageProcessor", "Nobody"])
def test_code_that_preprocessing_names_does_not_run(armed: tuple[Path, Path], kind: str) -> None:
    folder, mark = armed
    _change(
        folder / "preprocessor_config.json",
        image_processor_type=kind,
        size={"height": 8, "width": 8},
        auto_map={"AutoImageProcessor": "evil.C"},
    )
    for read in (load_processor, lambda at: image_processor(at).processor):
        with suppress(ModelError) if kind == "Nobody" else nullcontext():
            assert read(folder)(Image.new("RGB", (4, 4)))["pixel_values"][0].shape == (3, 8, 8)
    assert not mark.exists()


def test_pickles_beside_the_weights_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_bert(tmp_path / "bert")
    for name in ("pytorch_model.bin", "w.bin", "adapter_model.bin", "training_args.bin"):
        torch.save({"w": torch.ones(1)}, folder / name)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was opened")

    monkeypatch.setattr(torch, "load", refused)
    monkeypatch.setattr("pickle.load", refused)
    monkeypatch.setattr("pickle.Unpickler", refused)
    assert load_model(folder, task="text-classification", labels=["a", "b"]).layers.names
    index = folder / "model.safetensors.index.json"
    names = tf.BertModel(tf.BertConfig.from_pretrained(folder)).state_dict()
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, "w.bin")}))
    shutil.move(folder / "model.safetensors", tmp_path / "aside")
    with pytest.raises(ModelError, match=r"names 'w\.bin', which is no safetensors file"):
        load_model(folder, task="text-classification", labels=["a", "b"])
