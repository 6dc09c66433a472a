from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fedstrata.domain.ids import TensorName
from fedstrata.errors import ModelError
from fedstrata.models.export import full_state, rehearse, save_model
from fedstrata.models.fake import fake_model
from fedstrata.models.hub import load_model
from fedstrata.models.loaded import LoadedModel
from fedstrata.models.partition import partition
from small_models import save_bert

LABELS = ["up", "down", "left"]


@pytest.fixture
def vit(tmp_path: Path) -> LoadedModel:
    """Return a tiny ViT with a new head."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    tf.ViTModel(tf.ViTConfig(image_size=8, patch_size=4, **sizes)).save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").write_text("{}")
    return load_model(tmp_path / "vit", task="image-classification", labels=LABELS)


def moved(loaded: LoadedModel) -> dict[TensorName, Tensor]:
    return {TensorName(n): p.detach() + 0.5 for n, p in loaded.model.named_parameters()}


RELOAD = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fedstrata":
            raise ImportError("fedstrata is not here")
sys.meta_path.insert(0, Blocker())
try:
    import fedstrata
except ImportError:
    pass
else:
    sys.exit("fedstrata was importable")
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageClassification
folder, images, out = sys.argv[1:]
model = AutoModelForImageClassification.from_pretrained(folder).eval()
save_file({"logits": model(load_file(images)["x"]).logits.detach()}, out)
"""


def test_plain_from_pretrained_gives_the_same_logits_without_fedstrata(vit: LoadedModel, tmp_path: Path) -> None:
    state = moved(vit)
    folder = save_model(vit, state, tmp_path / "out", card="# Card")
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    save_file({"x": images}, tmp_path / "x.safetensors")
    files = [str(folder), str(tmp_path / "x.safetensors"), str(tmp_path / "y.safetensors")]
    subprocess.run([sys.executable, "-I", "-c", RELOAD, *files], check=True, capture_output=True)
    expected = torch.func.functional_call(vit.model, {str(n): t for n, t in state.items()}, (images,)).logits
    assert torch.equal(load_file(files[2])["logits"], expected)


def test_saving_leaves_the_model_in_memory_alone(vit: LoadedModel, tmp_path: Path) -> None:
    before = {n: p.clone() for n, p in vit.model.named_parameters()}
    save_model(vit, moved(vit), tmp_path / "out", card="")
    assert all(torch.equal(before[n], p) for n, p in vit.model.named_parameters())


def test_folder_has_labels_card_and_processor(vit: LoadedModel, tmp_path: Path) -> None:
    folder = save_model(vit, {}, tmp_path / "out", card="# Card", tokenizer_files_from=vit.source)
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    assert json.loads((folder / "config.json").read_text())["id2label"] == {"0": "up", "1": "down", "2": "left"}
    assert (folder / "README.md").read_text() == "# Card"


def test_existing_folder_is_replaced_whole_and_nothing_else_is_left(vit: LoadedModel, tmp_path: Path) -> None:
    parent = tmp_path / "runs"
    (parent / "model").mkdir(parents=True)
    (parent / "model" / "stale.txt").write_text("old")
    save_model(vit, {}, parent / "model", card="")
    assert [p.name for p in parent.iterdir()] == ["model"]
    assert not (parent / "model" / "stale.txt").exists()


def test_failure_midway_leaves_the_old_folder_untouched(
    vit: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = tmp_path / "runs"
    (parent / "model").mkdir(parents=True)
    (parent / "model" / "stale.txt").write_text("old")

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(type(vit.model), "save_pretrained", full_disk)
    with pytest.raises(OSError, match="disk full"):
        save_model(vit, {}, parent / "model", card="")
    assert [p.name for p in parent.iterdir()] == ["model"]
    assert (parent / "model" / "stale.txt").read_text() == "old"


def test_unknown_tensor_is_an_error_with_the_nearest_name(vit: LoadedModel) -> None:
    with pytest.raises(ModelError, match=r"no tensor 'clasifier\.bias'; did you mean 'classifier\.bias'"):
        full_state(vit.model, {TensorName("clasifier.bias"): torch.zeros(3)})


def test_tensor_of_another_shape_is_an_error(vit: LoadedModel) -> None:
    with pytest.raises(ModelError, match=r"'classifier\.bias' is \[4\]; the model's is \[3\]"):
        full_state(vit.model, {TensorName("classifier.bias"): torch.zeros(4)})


def test_target_that_is_a_file_is_an_error(vit: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ModelError, match="it is a file"):
        save_model(vit, {}, tmp_path / "out", card="")


def test_tied_tensor_is_changed_under_all_its_names() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    model["b"].weight = model["a"].weight
    state = full_state(model, {TensorName("a.weight"): torch.ones(2, 2)})
    assert state["b.weight"].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_custom_network_is_saved_as_weights_and_card(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    loaded = LoadedModel(net, partition(net), "nets:tiny", "image-classification", ("a", "b"))
    folder = save_model(loaded, {TensorName("0.bias"): torch.ones(2)}, tmp_path / "out", card="# Card")
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "model.safetensors"]
    assert load_file(folder / "model.safetensors")["0.bias"].tolist() == [1.0, 1.0]


def test_what_cannot_be_written_in_the_end_is_known_before(vit: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rehearse(vit)

    def refused(*_: object, **__: object) -> None:
        raise ValueError("no good:\n  temperature")

    monkeypatch.setattr(type(vit.model), "save_pretrained", refused)
    with pytest.raises(ModelError, match=r"could not be written once it is trained: ValueError: no good: temperature"):
        rehearse(vit)


def test_settings_that_a_folder_can_be_read_with_and_not_written_are_changed(tmp_path: Path) -> None:
    folder = save_bert(tmp_path / "bert")
    wanted = {"output_attentions": True, "output_hidden_states": True, "return_dict": False}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | wanted))
    loaded = load_model(folder, task="text-classification", labels=["a", "b"])
    rehearse(loaded)
    batch = {"input_ids": torch.tensor([[2, 7, 3]])}
    logits = loaded.objective.logits(loaded.model, batch)
    out = save_model(loaded, {}, tmp_path / "out", card="", tokenizer_files_from=folder)
    again = tf.AutoModelForSequenceClassification.from_pretrained(out).eval()(**batch)
    torch.testing.assert_close(again.logits, logits)
    assert again.hidden_states is None
    assert len(fake_model(str(folder), num_labels=2).layers) == 3
