"""``fedstrata run`` on users' own models and data: text, images, sites, and a network of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fedstrata.assembly.finish import finish
from fedstrata.assembly.run import prepare_run
from fedstrata.client.evaluate import evaluate
from fedstrata.config.load import check_config
from fedstrata.server.observers import Quiet
from small_models import save_bert, save_images, save_text, save_vit
from small_runs import after, essence, events, resume, start

TRAIN = {"rounds": 2, "steps": 2, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}

RELOAD = """
import json, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "fedstrata":
            raise ImportError("fedstrata is blocked")
sys.meta_path.insert(0, Blocker())
try:
    import fedstrata
except ImportError:
    pass
else:
    sys.exit("fedstrata could be imported")
import torch, transformers
torch.set_num_threads(1)
for family, folder, inputs in json.loads(sys.argv[1]):
    model = getattr(transformers, family).from_pretrained(folder).eval()
    if "Image" not in family:
        transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = model(**{k: torch.tensor(v) for k, v in inputs.items()}).logits
    print(json.dumps([logits.tolist(), model.config.id2label]))
"""

Trained = tuple[Path, dict[str, Tensor], Tensor]
"""A run's folder, the inputs of its first test rows, and the logits of its last weights."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with models and data; prepared tensors are kept in it."""
    folder = tmp_path_factory.mktemp("home")
    save_bert(folder / "bert", dropout=0.2)
    save_vit(folder / "vit")
    for name, rows in (("train.parquet", 60), ("train.csv", 60), ("train.jsonl", 60), ("test.jsonl", 20)):
        save_text(folder / name, rows, seed=int(name.startswith("test")))
    save_images(folder / "photos", ["dark", "light"], 18)
    save_images(folder / "photos-test", ["dark", "light"], 6, seed=1)
    for number, site in enumerate(("Ålesund", "Bergen", "Oslo")):
        save_images(folder / "sites" / site, ["dark", "light"], 6, seed=number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDSTRATA_CACHE", str(folder / "cache"))
        yield folder


def text_run(home: Path, name: str, **sections: object) -> dict[str, Any]:
    data = {
        "train": name,
        "test": "test.jsonl",
        "text": "note",
        "label": "outcome",
        "held_out": 0.1,
        "partition": {"kind": "dirichlet", "clients": 3, "alpha": 5.0},
    }
    return {"base": str(home), "model": {"path": "bert"}, "data": data, "train": TRAIN, **sections}


def image_run(home: Path, data: dict[str, Any]) -> dict[str, Any]:
    return {"base": str(home), "model": {"path": "vit"}, "data": {"image": "image", **data}, "train": TRAIN}


def trained(values: dict[str, Any], rows: int) -> Trained:
    prepared = prepare_run(check_config(values))
    result = prepared.run(observer=Quiet(), stop=lambda: False).start(prepared.weights)
    finish(prepared, result)
    inputs, _ = prepared.data.test.take(torch.arange(rows))
    prepared.resident.mount(result.weights)
    prepared.resident.set_evaluation()
    with torch.no_grad():
        return result.folder, inputs, prepared.resident.logits(inputs)


@pytest.fixture(scope="module")
def text(home: Path) -> Trained:
    """Return a run on Parquet."""
    return trained({**text_run(home, "train.parquet"), "output": str(home / "text")}, 4)


@pytest.fixture(scope="module")
def image(home: Path) -> Trained:
    """Return a run on folders of images."""
    data = {"train": "photos", "test": "photos-test", "partition": {"kind": "iid", "clients": 3}}
    return trained({**image_run(home, data), "output": str(home / "image")}, 2)


@pytest.fixture(scope="module")
def reloaded(text: Trained, image: Trained) -> list[tuple[Tensor, dict[str, str]]]:
    """Return logits and labels of both models from a process that cannot import fedstrata."""
    families = "AutoModelForSequenceClassification", "AutoModelForImageClassification"
    sent = [
        (family, str(folder / "model"), {k: v.tolist() for k, v in inputs.items()})
        for family, (folder, inputs, _) in zip(families, (text, image), strict=True)
    ]
    words = [sys.executable, "-I", "-c", RELOAD, json.dumps(sent)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()[-2:]]
    return [(torch.tensor(logits), labels) for logits, labels in said]


def test_plain_from_pretrained_gives_the_same_logits_without_fedstrata(
    text: Trained, reloaded: list[tuple[Tensor, dict[str, str]]]
) -> None:
    got, labels = reloaded[0]
    assert torch.equal(got, text[2])
    assert labels == {"0": "bad", "1": "good"}


def test_the_tokenizer_comes_with_the_model(text: Trained) -> None:
    assert (text[0] / "model" / "tokenizer.json").is_file()


@pytest.mark.parametrize("name", ["train.csv", "train.jsonl"])
def test_csv_and_jsonl_are_the_same_run_as_parquet(home: Path, text: Trained, tmp_path: Path, name: str) -> None:
    start({**text_run(home, name), "output": str(tmp_path / "run")})
    assert essence(tmp_path / "run")["model"] == essence(text[0])["model"]


def test_with_dropout_and_partial_participation_it_resumes_to_the_same_bits(home: Path, tmp_path: Path) -> None:
    sections = {"sampler": {"kind": "uniform", "clients_per_round": 2}, "train": {**TRAIN, "optimizer": "adamw"}}
    config = text_run(home, "train.parquet", **sections)
    start({**config, "output": str(tmp_path / "whole")})
    start({**config, "output": str(tmp_path / "run")}, stop=after(1))
    resume(tmp_path / "run")
    assert essence(tmp_path / "run") == essence(tmp_path / "whole")


def test_image_folders(image: Trained, reloaded: list[tuple[Tensor, dict[str, str]]]) -> None:
    got, labels = reloaded[1]
    assert torch.equal(got, image[2])
    assert labels == {"0": "dark", "1": "light"}


def test_sites_are_the_clients(home: Path, tmp_path: Path) -> None:
    data = {"sites": "sites", "test": "photos-test", "held_out": 0.1}
    start({**image_run(home, data), "output": str(tmp_path / "run")})
    clients = {e["client"] for e in events(tmp_path / "run", "client")}
    assert len(clients) == 3
    assert {"bergen", "oslo"} <= {c.lower() for c in clients}


NET = """\
import torch
class Net(torch.nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.stem = torch.nn.Linear(64, 16)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(16, 16) for _ in range(3))
        self.head = torch.nn.Linear(16, labels)
    def forward(self, pixels):
        hidden = torch.tanh(self.stem(pixels.flatten(1)))
        for block in self.blocks:
            hidden = hidden + torch.tanh(block(hidden))
        return self.head(hidden)
def make(labels):
    return Net(labels)
"""


def test_a_network_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "own_net_for_e2e.py").write_text(NET)
    config = {
        "base": str(tmp_path),
        "model": {"path": "own_net_for_e2e:make"},
        "data": {"kind": "digits", "partition": {"kind": "iid", "clients": 3}},
        "train": TRAIN,
        "output": str(tmp_path / "run"),
    }
    result = start(config)
    assert result.summary["method"] == "consensus"
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert events(tmp_path / "run", "run")[0]["layers"] == ["blocks.0", "blocks.1", "blocks.2"]


SELECTOR = """\
from dataclasses import dataclass
from fedstrata.domain.selection import Selection
@dataclass(frozen=True)
class Odd:
    start: int = 1
    def init(self, layers):
        return {}
    def probes(self, round, cohort, state):
        return ()
    def select(self, problem, state):
        return Selection({c: frozenset({self.start}) for c in problem.clients}), state
"""


def test_a_selector_of_the_users_own_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "own_selector_for_e2e.py").write_text(SELECTOR)
    config = {
        "base": str(tmp_path),
        "model": {"path": "embedded:vit-digits"},
        "data": {"kind": "digits", "partition": {"kind": "iid", "clients": 3}},
        "selector": {"kind": "own_selector_for_e2e:Odd", "start": "4"},
        "train": TRAIN,
        "output": str(tmp_path / "run"),
    }
    start(config, stop=after(1))
    assert {tuple(e["mask"]) for e in events(tmp_path / "run", "client")} == {(4,)}
    assert resume(tmp_path / "run").state == "finished"


def test_central_evaluation_is_that_of_the_weights(text: Trained, home: Path) -> None:
    """Accuracy and loss in the summary, computed again from the model folder's weights."""
    from safetensors.torch import load_file

    prepared = prepare_run(check_config({**text_run(home, "train.parquet"), "output": str(home / "unused")}))
    tensors = load_file(text[0] / "model" / "model.safetensors")
    weights = {name: tensors[name] for name in prepared.weights}
    rows = prepared.data.test
    loss, correct = evaluate(prepared.resident, weights, rows=rows, indices=torch.arange(len(rows)), batch_size=7)
    final = json.loads((text[0] / "summary.json").read_text())["final"]
    assert final["accuracy"] == correct / len(rows)
    assert final["loss"] == pytest.approx(loss / len(rows), rel=1e-5)
