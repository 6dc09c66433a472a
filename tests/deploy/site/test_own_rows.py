"""A site with rows of its own: the bits of the same rows under the embedded engine, and one name per run."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from fedstrata.deploy.site.audit_log import AuditLog
from fedstrata.deploy.site.service import Service
from fedstrata.wire.digests import digest_of
from fedstrata.wire.messages import Failure
from fedstrata.wire.sizes import Encoding
from site_world import Server, content, evaluation, facts_of, log_of, office_in, probe, train
from small_models import save_bert, save_images, save_text, save_vit


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with models, and the rows of two sites."""
    folder = tmp_path_factory.mktemp("home")
    save_bert(folder / "bert", dropout=0.2)
    save_vit(folder / "vit")
    (folder / "rows").mkdir()
    for seed, name in enumerate(("north", "south")):
        save_text(folder / "rows" / f"{name}.csv", 40 + 6 * seed, seed=seed)
        save_images(folder / "photos" / name, ["dark", "light"], 12 + seed, seed=seed)
    save_text(folder / "test.jsonl", 10, seed=9)
    save_images(folder / "photos-test", ["dark", "light"], 4, seed=9)
    return folder


@pytest.fixture(autouse=True)
def cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSTRATA_CACHE", str(home / "cache"))


def of_texts(home: Path) -> Server:
    data = {"sites": "rows", "test": "test.jsonl", "text": "note", "label": "outcome", "held_out": 0.2, "max_length": 6}
    return Server({"model": {"path": "bert"}, "data": data, "seed": 5}, base=home)


def of_images(home: Path) -> Server:
    data = {"sites": "photos", "test": "photos-test", "image": "image", "held_out": 0.2}
    return Server({"model": {"path": "vit"}, "data": data, "seed": 5}, base=home)


def south(home: Path, folder: Path, **keys: object) -> Service:
    rows = {"train": str(home / "rows" / "south.csv"), "text": "note", "label": "outcome"}
    return office_in(folder, **{"data": rows, "model": str(home / "bert"), **keys})


@pytest.mark.parametrize("kind", ["text", "image"])
def test_own_rows_give_the_bits_of_the_embedded_engine(home: Path, tmp_path: Path, kind: str) -> None:
    """Dropout, batches by length and held-out rows included."""
    if kind == "text":
        server, service = of_texts(home), south(home, tmp_path)
    else:
        server = of_images(home)
        rows = {"train": str(home / "photos" / "south"), "image": "image"}
        service = office_in(tmp_path, data=rows, model=str(home / "vit"))
    word = service.answer(server.said("join"), {}).said
    rows_of = server.data.clients["south"]  # type: ignore[index]
    assert (word["num_examples"], word["held_out"]) == (len(rows_of.train), len(rows_of.held_out))
    weights = server.moved(server.layers.names[0])
    sent = server.blobs(server.layers.names[:1], weights) | server.heads(weights)
    for request in (
        probe(weights, client="south", round=1),
        train(weights, (0, 1), client="south", round=1, steps=None, encoding=Encoding.BF16),
        evaluation(weights, client="south"),
    ):
        got = server.read(service.answer(server.work(request), sent), request)
        assert content(got) == content(server.local(request))


def test_the_name_that_a_server_first_uses_stays_for_the_run(home: Path, tmp_path: Path) -> None:
    server = of_texts(home)
    service, heads = south(home, tmp_path), server.heads(server.weights)
    first = evaluation(server.weights, client="south")
    assert service.answer(server.said("join"), {}).said["kind"] == "declaration"
    assert content(server.read(service.answer(server.work(first), heads), first)) == content(server.local(first))
    other = evaluation(server.weights, client="north")
    refusal = ("CLIENT_ERROR", "this site is client south in the run, and not north")
    assert server.refused(service, other) == refusal
    assert server.refused(south(home, tmp_path), other) == refusal  # also once the worker is started anew
    another = server.work(other) | {"run": "another"}
    assert not isinstance(server.read(service.answer(another, heads), other), Failure)


def test_a_failure_fixes_no_name(home: Path, tmp_path: Path) -> None:
    server = of_texts(home)
    service = south(home, tmp_path, limits={"evaluate": False})
    assert server.refused(service, evaluation(server.weights, client="north"))[0] == "REFUSED"
    request = probe(server.weights, client="south")
    answer = service.answer(server.work(request), server.heads(server.weights))
    assert content(server.read(answer, request)) == content(server.local(request))


def test_a_join_may_bear_the_name(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server, service = of_texts(home), south(home, tmp_path)
    with caplog.at_level("INFO", "fedstrata.deploy.site"):
        service.answer(server.said("join", client="south"), {})
        request = evaluation(server.weights, client="south")
        answer = service.answer(server.work(request), server.heads(server.weights))
    assert content(server.read(answer, request)) == content(server.local(request))
    assert caplog.text.count("loaded the model") == 1


def test_a_name_that_none_can_have_is_refused(home: Path, tmp_path: Path) -> None:
    server = of_texts(home)
    service = south(home, tmp_path)
    answer = service.answer(server.work(evaluation(server.weights, client="../../x")), {})
    message = "'../../x' is no name of a client; it has 1 to 64 of a-z, 0-9, hyphen and underscore"
    assert answer.said == {"kind": "refused", "message": message}


def test_another_base_model_is_not_worked_with(home: Path, tmp_path: Path) -> None:
    """Its layers have other hashes, so they are asked for; its bits are never mixed with the run's."""
    save_bert(tmp_path / "other", dropout=0.2, seed=1)
    server, service = of_texts(home), south(home, tmp_path, model="other")
    request = train(server.weights, (1,), client="south")
    answer = service.answer(server.work(request), server.heads(server.weights))
    assert answer.said["blocks"] == list(server.layers.names)


def test_frozen_blocks_that_the_manifest_names_are_held_against_it(home: Path, tmp_path: Path) -> None:
    save_bert(tmp_path / "other", dropout=0.2, seed=1)
    server, service = of_texts(home), south(home, tmp_path, model="other")
    frozen = server.layers.never[0]
    tensors = dict(server.model.module.named_parameters())
    request = evaluation(server.weights, client="south")
    said = server.work(request)

    said["manifest"][frozen.name] = digest_of(frozen, tensors)  # type: ignore[arg-type]
    everything = server.blobs([b.name for b in server.layers.trainable], server.weights)
    assert service.answer(said, everything).said["blocks"] == [frozen.name]
    blob = save({name: tensors[name].detach() for name in frozen.tensor_names})
    got = server.read(service.answer(said, {frozen.name: blob}), request)
    assert content(got) == content(server.local(request))
    assert torch.get_num_threads() == 1


def test_a_label_that_the_run_does_not_have_is_the_reason_and_stays_at_the_site(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = (home / "rows" / "south.csv").read_text().splitlines()
    column = rows[0].split(",").index("outcome")
    odd = rows[1].split(",")
    odd[column] = "secret-class"
    (tmp_path / "rows.csv").write_text("\n".join([rows[0], ",".join(odd), *rows[2:]]) + "\n")
    data = {"train": str(tmp_path / "rows.csv"), "text": "note", "label": "outcome"}
    answer = south(home, tmp_path / "ward", data=data).answer(of_texts(home).said("join"), {})
    assert answer.said["message"] == (
        "its rows have a label that the run does not have (data.labels); the site's own worker.log says which, and in"
        " which file and row"
    )
    assert "rows.csv" in caplog.text
    assert "'secret-class', which is not a label of the run" in caplog.text
    assert "leave such rows out, or have the run's labels name it (data.labels)" in caplog.text


def test_rows_that_change_within_a_run_are_said_in_the_site_s_own_log_and_nowhere_else(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the server names the site between the two, which changes the rows that are held out."""
    server, file = of_texts(home), tmp_path / "rows.csv"
    file.write_text((home / "rows" / "south.csv").read_text())
    rows = {"train": str(file), "text": "note", "label": "outcome"}
    request, heads = evaluation(server.weights, client="south"), server.heads(server.weights)

    def told(run: str) -> dict[str, object]:
        service = south(home, tmp_path, data=rows)  # as after its worker was started anew
        service.answer(server.said("join") | {"run": run}, {})
        answer = service.answer(server.work(request) | {"run": run}, heads)
        assert "rows_hash" not in str(answer.said)
        return facts_of(tmp_path)[-1]

    first, same = told("trial"), told("trial")
    assert first["rows_hash"] == same["rows_hash"]
    assert "rows_changed" not in same
    assert "have changed" not in caplog.text
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-1], lines[1]]) + "\n")
    other = told("another")
    assert other["rows_hash"] != first["rows_hash"]
    assert "rows_changed" not in other
    told("trial")
    changed = [fact for fact in facts_of(tmp_path) if fact.get("rows_changed")]
    assert [(fact["run"], fact["kind"]) for fact in changed] == [("trial", "declaration")]  # said once
    said = "its rows, or how they are read, have changed since the last message of this run"
    assert [said in line for line in log_of(tmp_path)].count(True) == 1
    assert f'run "trial": {said}; start a new run' in caplog.text


def test_a_hash_of_rows_says_nothing_without_the_site_s_key(tmp_path: Path) -> None:
    marks = [AuditLog(tmp_path / name).mark("00" * 32) for name in ("a", "a", "b")]
    assert marks[0] == marks[1] != marks[2]
    assert stat.S_IMODE((tmp_path / "a" / "rows.key").stat().st_mode) == 0o600
