"""What a site holds: every block is the one that its hash names, wherever it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from fedstrata.client.resident import ResidentModel
from fedstrata.deploy.site.cache import LayerCache
from fedstrata.deploy.site.layer_store import LayerStore
from fedstrata.domain.ids import LayerName, TensorName
from fedstrata.errors import ClientError
from fedstrata.wire.digests import manifest_of
from fedstrata.wire.messages import Weights
from toys import same_bits, toy_model

MODEL = toy_model()
LAYERS = MODEL.layers
HEAD, LAST = LayerName("head"), LayerName("blocks.2")
Blobs = dict[str, bytes]


def layer_store(folder: Path, model: ResidentModel = MODEL, limit: int = 10**6) -> LayerStore:
    tensors = {TensorName(n): p.detach() for n, p in model.module.named_parameters()}
    return LayerStore(LAYERS, tensors, LayerCache(folder, limit), torch.device("cpu"))


def blob(name: str, weights: Weights) -> bytes:
    (block,) = (b for b in LAYERS.trainable if b.name == name)
    found: bytes = save({t: weights[t] for t in block.tensor_names})
    return found


def other(weights: Weights, *names: LayerName) -> dict[TensorName, torch.Tensor]:
    return {n: t + 1.0 if n.rpartition(".")[0] in names else t for n, t in weights.items()}


def test_layers_of_the_base_model_are_at_hand_and_its_head_is_not(tmp_path: Path) -> None:
    weights = MODEL.weights()
    manifest = manifest_of(LAYERS.trainable, weights)
    mine = layer_store(tmp_path)
    got, missing = mine.weights(manifest, {})
    assert missing == (HEAD,)
    assert set(got) == {t for layer in LAYERS for t in layer.tensor_names}
    assert mine.hashes() == {manifest[layer.name] for layer in LAYERS}


def test_what_came_is_kept_in_memory_and_on_disk(tmp_path: Path) -> None:
    weights = other(MODEL.weights(), HEAD, LAST)
    manifest = manifest_of(LAYERS.trainable, weights)
    mine = layer_store(tmp_path)
    sent: Blobs = {name: blob(name, weights) for name in (HEAD, LAST)}
    got, missing = mine.weights(manifest, sent)
    assert (missing, same_bits(got, weights)) == ((), True)
    for file in tmp_path.iterdir():
        file.unlink()
    assert mine.weights(manifest, {})[1] == ()
    mine.weights(manifest, sent)
    assert layer_store(tmp_path).weights(manifest, {})[1] == (LAST, HEAD)  # memory had it, so it was not written again
    fresh = layer_store(tmp_path)
    fresh.weights(manifest, sent)
    got, missing = layer_store(tmp_path).weights(manifest, {})
    assert (missing, same_bits(got, weights)) == ((), True)


def test_a_full_disk_costs_only_a_transfer(tmp_path: Path) -> None:
    weights = other(MODEL.weights(), HEAD, LAST)
    manifest = manifest_of(LAYERS.trainable, weights)
    mine = layer_store(tmp_path, limit=0)
    assert mine.weights(manifest, {HEAD: blob(HEAD, weights)})[1] == (LAST,)
    assert mine.weights(manifest, {LAST: blob(LAST, weights)})[1] == ()


def test_memory_holds_the_last_manifest_alone(tmp_path: Path) -> None:
    first, second = other(MODEL.weights(), HEAD), other(MODEL.weights(), LAST)
    mine = layer_store(tmp_path, limit=0)
    mine.weights(manifest_of(LAYERS.trainable, first), {HEAD: blob(HEAD, first)})
    mine.weights(manifest_of(LAYERS.trainable, second), {})
    assert mine.weights(manifest_of(LAYERS.trainable, first), {})[1] == (HEAD,)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other", "renamed", "shape", "type", "more"])
def test_a_damaged_blob_is_missing_wherever_it_lies(tmp_path: Path, damage: str) -> None:
    weights = other(MODEL.weights(), HEAD)
    manifest = manifest_of(LAYERS.trainable, weights)
    bad = damaged(weights, damage)
    mine = layer_store(tmp_path)
    assert mine.weights(manifest, {HEAD: bad})[1] == (HEAD,)
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / f"{manifest[HEAD]}.safetensors"
    file.write_bytes(bad)
    assert mine.weights(manifest, {})[1] == (HEAD,)
    assert not file.exists()
    assert mine.weights(manifest, {HEAD: blob(HEAD, weights)})[1] == ()


def damaged(weights: Weights, damage: str) -> bytes:
    whole = blob(HEAD, weights)
    weight, bias = weights[TensorName("head.weight")], weights[TensorName("head.bias")]
    found: dict[str, bytes] = {
        "flip": whole[:-1] + bytes([whole[-1] ^ 1]),
        "cut": whole[:-1],
        "empty": b"",
        "other": blob(HEAD, MODEL.weights()),
        "renamed": save({"head.weight": weight, "head.Bias": bias}),
        "shape": save({"head.weight": weight.T.contiguous(), "head.bias": bias}),
        "type": save({"head.weight": weight.double(), "head.bias": bias}),
        "more": save({"head.weight": weight, "head.bias": bias, "stem.bias": bias.clone()}),
    }
    return found[damage]


def test_a_manifest_of_the_right_hash_and_the_wrong_shape_is_not_worked_with(tmp_path: Path) -> None:
    """The server's word does not make a block of another shape one of this model's."""
    weights = MODEL.weights()
    turned = {**weights, TensorName("head.weight"): weights[TensorName("head.weight")].T.contiguous()}
    manifest = manifest_of(LAYERS.trainable, turned)
    assert layer_store(tmp_path).weights(manifest, {HEAD: blob(HEAD, turned)})[1] == (HEAD,)


def test_blobs_that_no_manifest_names_are_not_looked_at(tmp_path: Path) -> None:
    weights = MODEL.weights()
    manifest = manifest_of(LAYERS.trainable, weights)
    sent = {HEAD: blob(HEAD, weights), "../../x": b"evil"}
    got, missing = layer_store(tmp_path / "layers").weights(manifest, sent)
    assert (missing, len(got), len(list(tmp_path.rglob("*.safetensors")))) == ((), len(weights), 1)


def test_weights_that_came_begin_where_torch_s_own_do(tmp_path: Path) -> None:
    """Kernels may give other bits where they do not."""
    names = [block.name for block in LAYERS.trainable]
    weights = other(MODEL.weights(), *names)
    got, _ = layer_store(tmp_path).weights(manifest_of(LAYERS.trainable, weights), {n: blob(n, weights) for n in names})
    assert [name for name, tensor in got.items() if tensor.data_ptr() % 64] == []


def test_a_manifest_of_another_model_is_an_error(tmp_path: Path) -> None:
    manifest = manifest_of(LAYERS.trainable, MODEL.weights())
    with pytest.raises(ClientError, match=r"its manifest lacks blocks\.2"):
        layer_store(tmp_path).weights({n: d for n, d in manifest.items() if n != LAST}, {})
    with pytest.raises(ClientError, match=r"its manifest has blocks\.7"):
        layer_store(tmp_path).weights({**manifest, LayerName("blocks.7"): "a" * 64}, {})
