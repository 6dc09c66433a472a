"""A site's own limits hold whatever a server asks, and what they hide is seen by nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedstrata.deploy.site.service import Service
from fedstrata.deploy.site.timer import within
from fedstrata.domain.count_sketch import Hashing
from fedstrata.domain.reasons import Reason
from fedstrata.domain.stats import Statistic
from fedstrata.scores.gradient_norm import GradientNorm
from fedstrata.scores.relative_gradient_norm import RelativeGradientNorm
from fedstrata.scores.signal_to_noise import SignalToNoise
from fedstrata.wire.messages import Failure, Probed, ProbePlan, Request, TrainPlan, Update
from fedstrata.wire.reply_frames import decode, encode
from site_world import Server, content, evaluation, facts_of, log_of, office_in, probe, train
from worker_engines import assignment

ALL = frozenset(Statistic)


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


def strict(folder: Path, **limits: object) -> Service:
    return office_in(folder, limits=limits)


def test_a_refused_layer_is_not_trained(server: Server, tmp_path: Path) -> None:
    service = strict(tmp_path, refuse=["first:1", "layers.4"])
    assert service.answer(server.said("join"), {}).said["refused"] == ["vit.layers.0", "vit.layers.4"]
    reason, message = server.refused(service, train(server.weights, (1, 4)))
    assert (reason, message) == ("REFUSED", "its own limits refuse layer vit.layers.4 (limits.refuse)")
    allowed = train(server.weights, (1, 2))
    answer = service.answer(server.work(allowed), server.heads(server.weights))
    assert content(server.read(answer, allowed)) == content(server.local(allowed))
    assert log_of(tmp_path)[1] == f'run "trial" round 1: sent no answer to training (REFUSED): {message}'


def test_a_refused_layer_by_another_number_is_not_trained(server: Server, tmp_path: Path) -> None:
    service, request = strict(tmp_path, refuse="last:1"), train(server.weights, (5,))
    for number in (5, -1, 5.0):
        said = server.work(request)
        said["request"]["mask"] = [number]
        answer = service.answer(said, server.heads(server.weights))
        assert answer.said["kind"] == "refused" or isinstance(server.read(answer, request), Failure)


@pytest.mark.parametrize("score", [GradientNorm(), RelativeGradientNorm(), SignalToNoise()])
def test_statistics_of_a_refused_layer_score_nothing_and_are_admitted(
    server: Server, tmp_path: Path, score: GradientNorm | RelativeGradientNorm | SignalToNoise
) -> None:
    service, request = strict(tmp_path, refuse=[2]), probe(server.weights, plan=ProbePlan(2, 8, score.needs))
    got = server.read(service.answer(server.work(request), server.heads(server.weights)), request)
    whole = server.local(request)
    assert isinstance(got, Probed)
    assert isinstance(whole, Probed)
    assert score(got.stats[2]) == 0.0 != score(whole.stats[2])
    assert [s for i, s in enumerate(got.stats) if i != 2] == [s for i, s in enumerate(whole.stats) if i != 2]
    hidden = got.stats[2].tensors
    assert all(t.grad_sq == 0 and not t.half_dot and not t.snr_sum and not t.noise_sum for t in hidden)
    assert facts_of(tmp_path)[0]["layers"] == [n for n in server.layers.names if n != "vit.layers.2"]


def test_statistics_that_piggyback_on_an_update_are_withheld_too(server: Server, tmp_path: Path) -> None:
    service = strict(tmp_path, refuse=[2], sketches=True)
    request = train(server.weights, (1,), piggybacking=ProbePlan(1, 8, ALL, Hashing(0, 16)))
    got = server.read(service.answer(server.work(request), server.heads(server.weights)), request)
    whole = server.local(request)
    assert isinstance(got, Update) and got.piggybacked  # noqa: PT018
    assert isinstance(whole, Update) and whole.piggybacked  # noqa: PT018
    assert all(t.grad_sq == t.half_dot == t.snr_sum == t.noise_sum == 0 for t in got.piggybacked.stats[2].tensors)
    assert got.piggybacked.stats[2].sketch == (0.0,) * 16 != whole.piggybacked.stats[2].sketch
    assert got.piggybacked.stats[1] == whole.piggybacked.stats[1]


@pytest.mark.parametrize(
    ("limits", "request_", "message"),
    [
        ({"scores": False}, "probe", "its own limits keep gradient statistics here (limits.scores)"),
        ({"scores": False}, "piggybacking", "its own limits keep gradient statistics here (limits.scores)"),
        ({}, "sketching", "its own limits keep sketches of gradients here (limits.sketches)"),
        (
            {"scores": False, "sketches": True},
            "sketching",
            "its own limits keep gradient statistics here (limits.scores)",
        ),
        ({"evaluate": False}, "evaluate", "its own limits keep loss and accuracy here (limits.evaluate)"),
        ({"min_rows": 17}, "probe", "the probe would use 16 rows, and its own limits ask for 17 (limits.min_rows)"),
        ({"min_rows": 8}, "piggybacking", "the probe would use 4 rows, and its own limits ask for 8 (limits.min_rows)"),
        ({"min_rows": 9}, "train", "a local step would use 8 rows, and its own limits ask for 9 (limits.min_rows)"),
        (
            {"min_rows": 31},
            "evaluate",
            "the evaluation would use 30 held-out rows, and its own limits ask for 31 (limits.min_rows)",
        ),
        ({"steps": 2}, "train", "the plan takes 3 local steps, and its own limits allow 2 (limits.steps)"),
        ({"lr": 0.05}, "train", "the learning rate is 0.1, and its own limits allow 0.05 (limits.lr)"),
        ({"rounds": 0}, "train", "it has trained 0 times, and its own limits allow 0 (limits.rounds)"),
        ({"probes": 0}, "probe", "it has measured gradients 0 times, and its own limits allow 0 (limits.probes)"),
        (
            {"probes": 0},
            "piggybacking",
            "it has measured gradients 0 times, and its own limits allow 0 (limits.probes)",
        ),
        ({"evaluations": 0}, "evaluate", "it has evaluated 0 times, and its own limits allow 0 (limits.evaluations)"),
    ],
)
def test_what_the_limits_forbid_is_refused_by_name(
    server: Server, tmp_path: Path, limits: dict[str, object], request_: str, message: str
) -> None:
    weights = server.weights
    requests: dict[str, Request] = {
        "probe": probe(weights),
        "train": train(weights),
        "piggybacking": train(weights, piggybacking=ProbePlan(1, 4)),
        "sketching": probe(weights, plan=ProbePlan(1, 8, sketch=Hashing(0, 16))),
        "evaluate": evaluation(weights),
    }
    service = strict(tmp_path, **limits)
    assert server.refused(service, requests[request_]) == ("REFUSED", message)
    allowed = probe(weights, plan=ProbePlan(0, 64)) if request_ == "evaluate" else requests["evaluate"]
    answer = service.answer(server.work(allowed), server.heads(weights))
    assert not isinstance(server.read(answer, allowed), Failure)


def test_a_site_that_lets_sketches_leave_says_how_many_numbers(server: Server, tmp_path: Path) -> None:
    """Per layer 16 of the sketch and one norm per tensor, of which a block of the embedded model has 16; and a loss."""
    request = probe(server.weights, plan=ProbePlan(1, 8, sketch=Hashing(0, 16)))
    answer = strict(tmp_path, sketches=True).answer(server.work(request), server.heads(server.weights))
    assert content(server.read(answer, request)) == content(server.local(request))
    numbers = 6 * (16 + 16) + 1
    said = f"sent gradient statistics of 6 layers, sketches of 16 numbers among them, and a loss ({numbers} numbers)"
    assert log_of(tmp_path) == [f'run "trial" round 1: {said} from 8 rows']
    assert facts_of(tmp_path)[0]["sketch"] == 16


@pytest.mark.parametrize("least", [16, 8])
def test_just_enough_rows_are_enough(server: Server, tmp_path: Path, least: int) -> None:
    request = probe(server.weights, plan=ProbePlan(2, 8)) if least == 16 else train(server.weights)
    answer = strict(tmp_path, min_rows=least).answer(server.work(request), server.heads(server.weights))
    assert not isinstance(server.read(answer, request), Failure)


def test_a_site_with_fewer_rows_than_its_own_least_does_not_join(server: Server, tmp_path: Path) -> None:
    answer = strict(tmp_path, min_rows=271).answer(server.said("join"), {})
    assert answer.said == {
        "kind": "refused",
        "message": "it has fewer training rows than its own limits allow (limits.min_rows)",
    }


def test_what_was_sent_is_counted_over_all_runs_and_over_the_ends_of_workers(server: Server, tmp_path: Path) -> None:
    """A server that calls its run by another name gains nothing."""
    request, heads = train(server.weights, piggybacking=ProbePlan(1, 8)), server.heads(server.weights)
    service = strict(tmp_path, rounds=2)
    for run in ("trial", "another"):
        assert not isinstance(server.read(service.answer(server.work(request) | {"run": run}, heads), request), Failure)
    for run in ("trial", "a third"):
        reply = server.read(strict(tmp_path, rounds=2).answer(server.work(request) | {"run": run}, heads), request)
        assert isinstance(reply, Failure)
        assert reply.message == "it has trained 2 times, and its own limits allow 2 (limits.rounds)"
    message = "it has measured gradients 2 times, and its own limits allow 2 (limits.probes)"
    assert server.refused(strict(tmp_path, probes=2), probe(server.weights)) == ("REFUSED", message)


def test_a_round_has_one_plan_over_the_ends_of_workers_too(server: Server, tmp_path: Path) -> None:
    request, heads = train(server.weights), server.heads(server.weights)
    service = strict(tmp_path)
    service.answer(server.work(request), heads)
    again = server.read(strict(tmp_path).answer(server.work(request), heads), request)
    assert content(again) == content(server.local(request))
    message = "it has trained in round 1 of this run under another plan, and the same draw is used under one plan alone"
    assert server.refused(strict(tmp_path), train(server.weights, steps=4)) == ("REFUSED", message)
    assert not isinstance(
        server.read(service.answer(server.work(train(server.weights, round=1, steps=4)), heads), request), Failure
    )


@pytest.mark.parametrize(("limits", "kind"), [({"rounds": 1}, "train"), ({"probes": 1}, "piggybacking")])
def test_work_that_failed_on_the_way_counts_since_its_failure_tells_of_the_rows(
    server: Server, tmp_path: Path, limits: dict[str, object], kind: str
) -> None:
    """Whether a loss is finite, and at which step it was not, is up to the rows: such answers are no free questions."""
    huge = {name: tensor * 1e30 for name, tensor in server.weights.items()}
    piggybacking = ProbePlan(1, 8) if kind == "piggybacking" else None
    request, heads = (
        train(huge, piggybacking=piggybacking),
        server.blobs((b.name for b in server.layers.trainable), huge),
    )
    first = server.read(strict(tmp_path, **limits).answer(server.work(request), heads), request)
    assert isinstance(first, Failure)
    assert first.reason is Reason.NONFINITE
    again = server.read(strict(tmp_path, **limits).answer(server.work(request) | {"run": "another"}, heads), request)
    assert isinstance(again, Failure)
    assert again.reason is Reason.REFUSED
    assert facts_of(tmp_path)[0]["worked"] == ["update", *(["statistics"] if piggybacking else [])]


def test_a_round_that_diverged_is_played_anew_with_another_rate(server: Server, tmp_path: Path) -> None:
    service, heads = strict(tmp_path), server.heads(server.weights)
    for rate in (0.1, 0.01):
        request = train(server.weights)
        request = replace(request, plan=replace(request.plan, lr=rate, clip_norm=1.0 / rate))
        assert isinstance(server.read(service.answer(server.work(request), heads), request), Update)


def test_work_that_takes_too_long_is_stopped_and_said(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(handler: object, request: Request) -> None:
        while True:
            sum(range(1000))

    service, request = strict(tmp_path, seconds=0.05), train(server.weights)
    with monkeypatch.context() as patched:
        patched.setattr("fedstrata.client.handler.Handler.handle", never)
        patched.setattr(
            "fedstrata.deploy.site.service.within", lambda seconds: within(0.05 if service._runtime else 60.0)
        )
        service.answer(server.said("join"), {})
        reason, message = server.refused(service, request)
    assert (reason, message) == (
        "REFUSED",
        "the work took longer than the 0.05 s that its own limits allow (limits.seconds)",
    )
    answer = strict(tmp_path).answer(server.work(request), server.heads(server.weights))
    assert content(server.read(answer, request)) == content(server.local(request))


def test_more_threads_than_the_machine_has_are_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    said = server.said("join")
    said["run_spec"]["threads"] = 3
    assert strict(tmp_path / "a").answer(said, {}).said["message"] == (
        "the run asks for 3 threads, and its machine has 2 (limits.threads); lower threads in the run's configuration"
    )
    said["run_spec"]["threads"] = 2
    assert "and its own limits allow 1" in strict(tmp_path / "b", threads=1).answer(said, {}).said["message"]


def test_what_is_forbidden_asks_for_no_transfer(server: Server, tmp_path: Path) -> None:
    answer = strict(tmp_path, scores=False).answer(server.work(probe(server.weights)), {})
    assert answer.said["kind"] == "frame"


def test_refusing_a_layer_that_does_not_exist_is_an_error(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = strict(tmp_path, refuse="vit.layers.9").answer(server.said("join"), {})
    assert answer.said["kind"] == "refused"
    assert "no block is named 'vit.layers.9'; did you mean" in caplog.text


def test_a_refusal_arrives_as_one(server: Server) -> None:
    request = train(server.weights)
    sent = Failure(request.client, 0, "train", Reason.REFUSED, "no", request.origin)
    assert decode(encode(sent), assignment(request, server.layers)) == sent


@pytest.mark.parametrize(
    ("request_", "used"),
    [
        ("train", "3 steps on 24 of 270 rows"),
        ("all", "9 steps on 270 rows"),
        ("probe", "from 16 rows"),
        ("evaluate", "over 30 held-out rows"),
    ],
)
def test_the_log_tells_the_rows_that_were_used(server: Server, tmp_path: Path, request_: str, used: str) -> None:
    weights = server.weights
    plan = TrainPlan(steps=None, epochs=1, batch_size=32)
    requests: dict[str, Request] = {
        "train": train(weights),
        "all": replace(train(weights), plan=plan),
        "probe": probe(weights),
        "evaluate": evaluation(weights),
    }
    strict(tmp_path).answer(server.work(requests[request_]), server.heads(weights))
    assert log_of(tmp_path)[0].endswith(used)
    assert facts_of(tmp_path)[0]["rows"] == {"train": 24, "all": 270, "probe": 16, "evaluate": 30}[request_]
