"""A site's service: the bits of the embedded engine, and never with a block that is not the server's."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from fedstrata.client.evaluate import evaluate
from fedstrata.deploy.site.service import Service
from fedstrata.domain.ids import LayerName
from fedstrata.domain.stats import Statistic
from fedstrata.wire.declaration import Declaration
from fedstrata.wire.messages import Evaluated, Failure, ProbePlan, Request, Train, Update
from fedstrata.wire.sizes import Encoding
from site_world import (
    CLIENT,
    DIGITS,
    Server,
    content,
    evaluation,
    facts_of,
    log_of,
    office_in,
    probe,
    train,
)


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ward")


@pytest.fixture(scope="module")
def service(folder: Path) -> Service:
    return office_in(folder, name="ward", budget={"layers": 2, "bytes_up": "30 MB"})


def test_a_site_declares_rows_budget_and_what_it_holds(server: Server, service: Service) -> None:
    answer = service.answer(server.said("join"), {})
    assert answer.said.pop("kind") == "declaration"
    word = Declaration.from_json(answer.said)
    rows = server.data.clients[CLIENT]
    assert (word.num_examples, word.held_out) == (len(rows.train), len(rows.held_out))
    assert (word.budget, word.refused, word.device) == ({"layers": 2.0, "bytes_up": 30e6}, (), "cpu")
    manifest = server.manifest(server.weights)
    assert {manifest[layer.name] for layer in server.layers} <= word.holds
    assert not {manifest[block.name] for block in server.layers.always} & word.holds  # a head is the server's
    assert set(word.versions) == {"fedstrata", "torch", "transformers", "numpy"}


WITH_PROBE = ProbePlan(1, 8, frozenset({Statistic.NORM, Statistic.HALVES}))


@pytest.mark.parametrize(
    "ask",
    [
        lambda w: probe(w, round=2),
        lambda w: train(w, round=2),
        lambda w: train(w, (), round=3, steps=None),
        lambda w: train(w, (0, 5), round=4, encoding=Encoding.INT8),
        lambda w: train(w, (3,), round=5, piggybacking=WITH_PROBE),
        lambda w: evaluation(w),
    ],
    ids=["probe", "train", "head", "int8", "piggybacking", "evaluate"],
)
def test_an_answer_has_the_bits_of_the_embedded_engine(server: Server, service: Service, ask: object) -> None:
    assert callable(ask)
    weights = server.moved("vit.layers.1", "vit.layers.3")
    request: Request = ask(weights)
    sent = server.blobs(["vit.layers.1", "vit.layers.3"], weights) | server.heads(weights)
    reply = server.read(service.answer(server.work(request), sent), request)
    assert content(reply) == content(server.local(request))


def test_parts_after_the_first_are_one_block_each(server: Server, service: Service) -> None:
    answer = service.answer(server.work(train(server.weights, (4, 1), round=6)), server.heads(server.weights))
    assert answer.blocks == ("vit.layers.1", "vit.layers.4", *(b.name for b in server.layers.always))
    assert len(answer.parts) == 1 + len(answer.blocks)
    assert answer.said["seconds"] > 0


def test_what_is_missing_is_asked_for_and_what_came_is_kept(server: Server, tmp_path: Path) -> None:
    service = office_in(tmp_path)
    weights = server.moved("vit.layers.2", "vit.layers.5")
    request = train(weights)
    answer = service.answer(server.work(request), server.blobs(["vit.layers.2"], weights))
    lacking = ["vit.layers.5", *(block.name for block in server.layers.always)]
    assert answer.said.pop("seconds") >= 0
    assert (answer.said, answer.parts) == ({"kind": "missing", "blocks": lacking}, ())
    reply = server.read(service.answer(server.work(request), server.blobs(lacking, weights)), request)
    assert content(reply) == content(server.local(request))


def test_a_block_with_another_hash_is_never_worked_with(server: Server, tmp_path: Path) -> None:
    service = office_in(tmp_path)
    weights = server.moved("vit.layers.0")
    lie = server.blobs(["vit.layers.0"], server.weights) | server.heads(weights)
    answer = service.answer(server.work(train(weights)), lie)
    assert answer.said["blocks"] == ["vit.layers.0"]


def test_a_new_worker_has_the_layers_from_the_cache(server: Server, tmp_path: Path) -> None:
    weights = server.moved("vit.layers.4")
    request = evaluation(weights)
    sent = server.blobs(["vit.layers.4"], weights) | server.heads(weights)
    office_in(tmp_path).answer(server.work(request), sent)
    anew = office_in(tmp_path)
    word = anew.answer(server.said("join"), {}).said
    assert {server.manifest(weights)[LayerName(name)] for name in sent} <= set(word["holds"])
    assert content(server.read(anew.answer(server.work(request), {}), request)) == content(server.local(request))


def test_the_model_is_loaded_once_per_briefing(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service, other = office_in(tmp_path), Server({**DIGITS, "seed": 4})
    with caplog.at_level("INFO", "fedstrata.deploy.site"):
        for _ in range(3):
            service.answer(server.work(evaluation(server.weights)), server.heads(server.weights))
        assert caplog.text.count("loaded the model") == 1
        request = train(other.weights)
        answer = service.answer(other.work(request), other.heads(other.weights))
        assert caplog.text.count("loaded the model") == 2
    assert content(other.read(answer, request)) != content(server.local(train(server.weights)))


def test_another_name_than_the_share_s_is_refused(server: Server, service: Service) -> None:
    reason, message = server.refused(service, evaluation(server.weights, client="client-02"))
    assert (reason, message) == ("CLIENT_ERROR", "this site is client client-01 in the run, and not client-02")
    answer = service.answer(server.said("join", client="client-00"), {})
    assert answer.said == {"kind": "refused", "message": "this site is client client-01 in the run, and not client-00"}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"kind": "dance"}, "the message is of a kind that this version of fedstrata does not know"),
        ({}, "the message is of a kind that this version of fedstrata does not know"),
        ({"kind": "work", "request": {"phase": "sleep"}, "manifest": {}}, "the request is not one that this version"),
        ({"kind": "work", "request": None, "manifest": None}, "the request is not one that this version"),
        ({"kind": "join"}, "the run's specification cannot be used: has to be a mapping"),
        ({"kind": "join", "client": 5}, "5 is no name of a client; it has 1 to 64 of a-z"),
        ({"kind": "join", "client": "client-02"}, "this site is client client-01 in the run, and not client-02"),
        (
            {"kind": "join", "run_spec": {"path": "/"}},
            "the run's specification cannot be used: seed: this key is needed",
        ),
    ],
)
def test_what_is_no_message_is_refused_in_a_sentence(
    service: Service, folder: Path, said: dict[str, object], message: str
) -> None:
    answer = service.answer({"run": "odd", **said}, {})
    assert answer.said["kind"] == "refused"
    assert answer.said["message"].startswith(message)
    assert log_of(folder)[-1].startswith(f'run "odd": refused: {message}')


@pytest.mark.parametrize("odd", [[6], [-1]])
def test_a_mask_of_layers_that_are_none_is_a_failure(server: Server, service: Service, odd: list[object]) -> None:
    request = train(server.weights)
    said = server.work(request)
    said["request"]["mask"] = odd
    answer = service.answer(said, server.heads(server.weights))
    reply = server.read(answer, request)
    assert isinstance(reply, Failure)
    assert reply.message == "the mask names layers that the model does not have; it has 6"


@pytest.mark.parametrize(
    ("odd", "where"), [(["x"], "mask.0: "), ([0.5], "mask.0: "), ([True], "mask.0: "), ([1, 1], ""), ("1", "mask: ")]
)
def test_a_mask_of_another_form_is_refused(server: Server, service: Service, odd: object, where: str) -> None:
    said = server.work(train(server.weights))
    said["request"]["mask"] = odd
    answer = service.answer(said, server.heads(server.weights))
    assert answer.said["kind"] == "refused"
    assert f"the request is not one that this version of fedstrata knows: {where}" in answer.said["message"]


@pytest.mark.parametrize("key", ["steps", "batch_size", "epochs"])
@pytest.mark.parametrize("odd", ["7", -1, 1.5, float("nan"), True])
def test_a_count_that_is_none_is_refused(server: Server, service: Service, key: str, odd: object) -> None:
    said = server.work(train(server.weights))
    said["request"]["plan"][key] = odd
    answer = service.answer(said, {})
    assert answer.said["kind"] == "refused"
    assert f"plan.{key}: has to be a whole number" in answer.said["message"] or odd == -1
    assert f"plan.{key}: has to be " in answer.said["message"]


@pytest.mark.parametrize("key", ["client", "round", "origin", "plan", "mask", "probe"])
def test_a_request_that_lacks_a_key_is_refused(server: Server, service: Service, key: str) -> None:
    said = server.work(train(server.weights))
    del said["request"][key]
    assert service.answer(said, {}).said["kind"] == "refused"


@pytest.mark.parametrize("odd", ["3\n2026 run forged", -1, 1.5, True, None, 10**4000])
def test_a_round_that_is_none_is_refused_and_forges_no_line(server: Server, tmp_path: Path, odd: object) -> None:
    service, said = office_in(tmp_path), server.work(evaluation(server.weights))
    said["request"]["round"] = odd
    assert service.answer(said, {}).said["kind"] == "refused"
    (line,) = log_of(tmp_path)
    assert re.match('run "trial": refused: .*(a round or an attempt is |knows: round: has to be a whole number)', line)
    assert len(line) < 250


def test_another_model_than_the_run_s_is_a_failure(server: Server, service: Service) -> None:
    request = evaluation(server.weights)
    for change, message in (
        ({"h.9": "a" * 64}, "its manifest has h.9, which the model here has not"),
        ({"vit.layers.0": "../../etc"}, "the run's manifest holds something that is no content hash"),
        ({"vit.layers.0": 5}, "the run's manifest holds something that is no content hash"),
    ):
        said = server.work(request)
        said["manifest"] |= change
        reply = server.read(service.answer(said, {}), request)
        assert isinstance(reply, Failure)
        assert message in reply.message
    said = server.work(request)
    del said["manifest"]["vit.layers.2"]
    reply = server.read(service.answer(said, {}), request)
    assert isinstance(reply, Failure)
    assert "its manifest lacks vit.layers.2" in reply.message


def test_every_message_leaves_a_line_that_says_what_it_holds(server: Server, tmp_path: Path) -> None:
    service = office_in(tmp_path, name="ward", budget={"layers": 2})
    heads, weights = server.heads(server.weights), server.weights
    service.answer(server.said("join"), {})
    service.answer(server.work(probe(weights, round=3)), {})
    for request in (
        probe(weights, round=3),
        train(weights, round=3, piggybacking=WITH_PROBE),
        evaluation(weights, round=3),
    ):
        service.answer(server.work(request), heads)
    size = server.layers.bytes_of(frozenset({1, 4}))
    told = re.sub(
        r"\((\d[\d,]+) bytes\)", lambda m: f"({int(m[1].replace(',', '')) // size} x)", "\n".join(log_of(tmp_path))
    )
    assert told.splitlines() == [
        'run "trial": joined as ward: told 270 training rows, 30 held out, budget 2 layers, 6 layers at hand, cpu, '
        "versions of fedstrata, torch, transformers, numpy",
        'run "trial" round 4: asked for the layers vit.layernorm and classifier before a probe',
        'run "trial" round 4: sent gradient statistics of 6 layers and a loss (385 numbers) from 16 rows',
        'run "trial" round 4: sent the change of layers vit.layers.1, vit.layers.4, vit.layernorm and classifier (1 x) '
        "and 2 losses after 3 steps on 24 of 270 rows, and gradient statistics of 6 layers and a loss (193 numbers) "
        "from 8 rows",
        'run "trial" round 3: sent accuracy and loss over 30 held-out rows',
    ]
    facts = facts_of(tmp_path)
    assert [fact["kind"] for fact in facts] == ["declaration", "missing", "statistics", "update", "evaluation"]
    assert facts[3]["numbers"] * 4 == pytest.approx(facts[3]["bytes"], rel=0.05)
    assert {key: facts[3][key] for key in ("run", "round", "phase", "client", "layers", "rows", "told", "steps")} == {
        "run": "trial",
        "round": 4,
        "phase": "train",
        "client": "client-01",
        "layers": ["vit.layers.1", "vit.layers.4", "vit.layernorm", "classifier"],
        "rows": 24,
        "told": 270,
        "steps": 3,
    }


def test_what_cannot_be_written_down_does_not_leave(server: Server, tmp_path: Path) -> None:
    service = office_in(tmp_path)
    (tmp_path / "state").write_text("in the way")
    answer = service.answer(server.said("join"), {})
    message = "its log of what leaves it cannot be written, so nothing leaves"
    assert answer.said == {"kind": "refused", "message": message}
    assert server.refused(service, train(server.weights)) == ("CLIENT_ERROR", message)


def test_errors_of_the_site_stay_at_the_site(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = office_in(tmp_path, model=str(tmp_path / "secret-folder"))
    answer = service.answer(server.said("join"), {})
    assert answer.said["message"] == (
        "its own file, its model or its rows do not fit the run; the site's own worker.log says what"
    )
    assert "secret-folder' does not exist" in caplog.text


def test_an_exception_in_the_work_is_told_by_its_type_alone(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def spill(handler: object, request: Train) -> Update:
        raise KeyError("patient 17")

    service = office_in(tmp_path)
    monkeypatch.setattr("fedstrata.client.handler.Handler.handle", spill)
    reason, message = server.refused(service, train(server.weights))
    assert (reason, message) == ("CLIENT_ERROR", "its work ended with KeyError; the site's own worker.log says what")
    assert "patient 17" in caplog.text
    assert "patient" not in "".join(log_of(tmp_path))


def test_the_site_s_own_code_is_named_in_its_own_log_alone(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "own_nets.py"
    file.write_text("class Patient17(LookupError): ...\n\n\ndef spill(*_):\n    raise Patient17('row 3')\n")
    monkeypatch.syspath_prepend(tmp_path)
    service = office_in(tmp_path)
    monkeypatch.setattr("fedstrata.client.handler.Handler.handle", import_module("own_nets").spill)
    _, message = server.refused(service, train(server.weights))
    assert message == "its work ended with LookupError; the site's own worker.log says what"
    assert f"Patient17: row 3; it was raised in your own code: spill ({file}:5)" in caplog.text
    assert "Patient17" not in "".join(log_of(tmp_path))


def test_labels_of_another_run_are_refused(server: Server, tmp_path: Path) -> None:
    service, said = office_in(tmp_path), server.said("join")
    said["run_spec"]["labels"] = ["yes", "no"]
    message = "the run's labels are not those of the rows here (2 labels of the run, 10 here); "
    assert service.answer(said, {}).said["message"] == f"{message}the site's own worker.log lists both"


def test_a_share_s_rows_follow_from_its_configuration_s_seed(server: Server, tmp_path: Path) -> None:
    """The run's seed is another one, and so are its random streams, but not who has which rows."""
    run = Server({**DIGITS, "seed": 4})
    rows, request = server.data.clients[CLIENT], evaluation(run.weights)
    got = run.read(office_in(tmp_path).answer(run.work(request), run.heads(run.weights)), request)
    loss, correct = evaluate(run.model, run.weights, rows=rows.rows, indices=rows.held_out, batch_size=256)
    assert isinstance(got, Evaluated)
    assert (got.loss_sum, got.correct, got.num_examples) == (loss, correct, len(rows.held_out))
    assert content(got) != content(run.local(request))
