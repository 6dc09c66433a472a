from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from fedstrata.cli.layers import layers
from fedstrata.errors import ConfigError, FedstrataError, LayerError, ModelError

VIT = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 8,
    "patch_size": 4,
}


@pytest.fixture
def vit(tmp_path: Path) -> str:
    """Return a folder that holds a ViT's config.json and no weights."""
    folder = tmp_path / "vit"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(VIT))
    return str(folder)


def invoke(*words: str) -> Result:
    app = typer.Typer()
    app.command()(layers)
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})


def test_json_lists_layers_then_always_then_never_and_the_total(vit: str) -> None:
    answer = json.loads(invoke(vit, "--json", "--labels", "5").stdout)
    rows = [(row["id"], row["name"], row["role"]) for row in answer["blocks"]]
    assert rows == [
        (0, "vit.layers.0", "layer"),
        (1, "vit.layers.1", "layer"),
        (2, "vit.layers.2", "layer"),
        (None, "vit.layernorm", "always"),
        (None, "classifier", "always"),
        (None, "vit.embeddings", "never"),
    ]
    classifier = answer["blocks"][4]
    assert (classifier["parameters"], classifier["bytes"]) == (45, 180)
    assert classifier["flops_forward"] == 2 * 8 * 5
    assert answer["total"]["parameters"] == sum(row["parameters"] for row in answer["blocks"])
    assert answer["inputs"] == {"pixel_values": [1, 3, 8, 8]}


def test_batch_multiplies_the_operations(vit: str) -> None:
    one, four = (json.loads(invoke(vit, "--json", "--batch", n).stdout)["total"] for n in ("1", "4"))
    assert four["flops_backward"] == 4 * one["flops_backward"]


def test_table_shows_every_block_and_marks_what_a_term_selects(vit: str) -> None:
    result = invoke(vit, "--select", "last:2")
    assert result.exit_code == 0
    marked = [line.split()[:3] for line in result.stdout.splitlines() if line.strip().startswith(">")]
    assert marked == [[">", "1", "vit.layers.1"], [">", "2", "vit.layers.2"]]
    assert "tied with" not in result.stdout, "a column in which nothing stands"
    assert "'last:2' selects 1, 2." in result.stdout
    assert "total" in result.stdout


def test_halves_and_matrices_are_shown(vit: str) -> None:
    words = ("--units", "halves", "--adapter", "lora", "--rank", "2", "--json", "--select", "/mlp/")
    answer = json.loads(invoke(vit, *words).stdout)
    assert [row["name"] for row in answer["blocks"][:2]] == ["vit.layers.0.attention", "vit.layers.0.mlp"]
    assert answer["blocks"][0]["parameters"] == 4 * 2 * (8 + 8)
    assert answer["selected"] == [1, 3, 5]
    assert answer["blocks"][-1]["name"] == "vit.layers.2.mlp.base"


def test_custom_network_is_shown_without_operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from torch import nn\ndef net(n):\n    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))\n"
    (tmp_path / "nets_for_layers.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    answer = json.loads(invoke("nets_for_layers:net", "--json").stdout)
    assert [row["flops_forward"] for row in answer["blocks"]] == [None, None]
    assert answer["total"]["flops_forward"] is None
    assert "does not say what input it takes" in answer["note"]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--select", "7"], LayerError, "layer 7 does not exist"),
        (["--task", "image-clasification"], ConfigError, "did you mean 'image-classification'"),
        (["--task", "text-classification"], ModelError, "it can do image-classification"),
        (["--blocks", "vit.layer"], ModelError, "did you mean 'vit.layers'"),
        (["--labels", "0"], ModelError, "at least one label"),
        (["--units", "halfs"], ConfigError, "did you mean 'halves'"),
        (["--adapter", "loar"], ConfigError, "did you mean 'lora'"),
        (["--rank", "4"], ConfigError, "add --adapter lora"),
    ],
)
def test_wrong_word_is_an_error_with_a_hint(
    vit: str, words: list[str], error: type[FedstrataError], message: str
) -> None:
    result = invoke(vit, *words)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
