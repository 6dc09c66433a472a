"""Multiple-choice from files to an exported model: runs, plans, workers, sites' own rows, benches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf

from fedstrata.assembly.loading import load_network, load_rows
from fedstrata.assembly.run import prepare_run
from fedstrata.assembly.runtime import handler_of, open_workplace
from fedstrata.assembly.worker import recipe
from fedstrata.cli.bench_cases import bench_of
from fedstrata.config.load import Loaded, check_config
from fedstrata.data.choice import PROMPT
from fedstrata.data.tensors import FederatedData
from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError
from fedstrata.planning.plan import make_plan
from fedstrata.planning.subject import Assumed
from fedstrata.wire.digests import content_of
from fedstrata.wire.messages import Evaluate, Probe, ProbePlan, Request, Train, TrainPlan
from questions import bytewise, gpt2, llama, questions, save_causal, save_questions, score, sentencewise
from small_runs import after, essence, events, resume, start

SITES = {"qa_arc": 10, "qa_piqa": 8, "qa_sciq": 12}
COLUMNS = {"question": "question", "choices": "choices", "label": "answer", "max_length": 32}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with two causal models and three data sets, one of yes-or-no questions alone."""
    folder = tmp_path_factory.mktemp("choices")
    save_causal(folder / "llama", llama(tied=True), sentencewise())
    save_causal(folder / "gpt2", gpt2(), bytewise())
    for number, (site, rows) in enumerate(SITES.items()):
        choices = (1, 2) if site == "qa_piqa" else (2, 5)
        save_questions(folder / site / "train.jsonl", questions(rows, seed=number, choices=choices))
        save_questions(folder / site / "test.jsonl", questions(4, seed=10 + number, choices=choices))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDSTRATA_CACHE", str(folder / "cache"))
        yield folder


def config(home: Path, data: dict[str, Any] | None = None, **sections: object) -> dict[str, Any]:
    sites = {"kind": "files", "sites": "qa_*/train.jsonl", "test": "qa_*/test.jsonl", "held_out": 0.2}
    return {
        "base": str(home),
        "model": {"path": "llama"},
        "data": {**COLUMNS, **(data or sites)},
        "train": {"rounds": 2, "steps": 2, "batch_size": 4, "lr": 0.05, "optimizer": "sgd"},
        "probe": {"batch_size": 4},
        "evaluate": {"batch_size": 16},
        **sections,
    }


def test_one_client_per_data_set_and_a_model_that_answers_as_it_was_judged(home: Path, tmp_path: Path) -> None:
    result = start(config(home, output=str(tmp_path / "run")))
    assert {e["client"] for e in events(tmp_path / "run", "client")} == set(SITES)
    card = json.loads((tmp_path / "run" / "data_card.json").read_text())
    assert (card["rows_test"], card["labels"]) == (12, ["0", "1", "2", "3", "4"])
    model = tf.AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    tokenizer = tf.AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    right, lost = 0, 0.0
    for site in SITES:
        for line in (home / site / "test.jsonl").read_text().splitlines():
            row = json.loads(line)
            prompt = tokenizer(PROMPT.format(row["question"]))["input_ids"]
            whole = [tokenizer(f"{PROMPT.format(row['question'])} {c}")["input_ids"] for c in row["choices"]]
            with torch.no_grad():
                scores = torch.stack([score(model, prompt, ids[len(prompt) :]) for ids in whole])
            right += int(scores.argmax()) == row["answer"]
            lost -= float(scores[row["answer"]])
    final = result.summary["final"]
    assert final["accuracy"] == pytest.approx(right / 12)
    assert final["loss"] == pytest.approx(lost / 12, abs=1e-5)


def test_it_resumes_to_the_same_bits(home: Path, tmp_path: Path) -> None:
    data = {
        "train": "qa_sciq/train.jsonl",
        "test_fraction": 0.25,
        "partition": {"kind": "dirichlet", "clients": 2, "alpha": 5.0, "min_rows": 2},
    }
    values = config(home, data, model={"path": "gpt2"}, evaluate={"batch_size": 5}, cost="layers")
    start({**values, "output": str(tmp_path / "whole")})
    start({**values, "output": str(tmp_path / "run")}, stop=after(1))
    resume(tmp_path / "run")
    assert essence(tmp_path / "run") == essence(tmp_path / "whole")


def requests(loaded: Loaded, client: str) -> list[Request]:
    weights = open_workplace(loaded).resident().weights()
    mine = ClientId(client)
    return [
        Probe(mine, 1, weights, ProbePlan(2, 3)),
        Train(mine, 1, weights, frozenset({0}), TrainPlan(epochs=1, batch_size=4, lr=0.1)),
        Evaluate(mine, 1, weights),
    ]


def test_a_worker_does_what_the_servers_process_does(home: Path) -> None:
    loaded = check_config(config(home))
    place = open_workplace(loaded)
    handler, worker = handler_of(loaded, place.resident(), place.data), recipe(loaded).make()
    for request in requests(loaded, "qa_arc"):
        assert content_of(handler.handle(request)) == content_of(worker.handle(request))  # type: ignore[arg-type]


@pytest.mark.parametrize("site", SITES)
def test_a_sites_own_rows_give_the_same_answers(home: Path, site: str) -> None:
    whole = check_config(config(home))
    data: FederatedData = load_rows(whole)
    own = {"kind": "own", "train": f"{site}/train.jsonl", "labels": list(data.labels), "client": site, "held_out": 0.2}
    mine = check_config(config(home, own))
    answers = []
    for loaded, rows in ((whole, data), (mine, load_rows(mine))):
        place = replace(open_workplace(loaded, lambda _, rows=rows: rows))  # type: ignore[misc]
        handler = handler_of(loaded, place.resident(), rows)
        answers.append([content_of(handler.handle(r)) for r in requests(whole, site)])  # type: ignore[arg-type]
    assert answers[0] == answers[1]


def test_the_server_of_remote_sites_has_its_test_rows(home: Path) -> None:
    flower = {"sites": {site: f"{site}.pub" for site in SITES}}
    remote = {"kind": "remote", "test": "qa_*/test.jsonl"}
    data = load_rows(check_config(config(home, remote, engine="flower", flower=flower)))
    assert (len(data.clients), len(data.test), data.labels) == (0, 12, ("0", "1", "2", "3", "4"))
    with pytest.raises(ConfigError, match="labels of questions are the positions of their choices; leave 'labels' out"):
        check_config(config(home, remote | {"labels": ["a", "b"]}, engine="flower", flower=flower))


def test_a_plan_prices_the_answers_that_the_rows_have(home: Path) -> None:
    loaded = check_config(config(home, cost="measured"))
    profiles = make_plan(loaded).subject.profiles
    rows = load_rows(loaded)
    scored = len(rows.test.typical()["targets"])
    heads = [p.forward[list(map(str, p.blocks)).index("lm_head")] for p in profiles]
    assert heads == [2 * 4 * scored * 16 * 300] * len(profiles)


def test_a_plan_without_data_needs_the_length_of_the_texts(home: Path) -> None:
    loaded = check_config(config(home))
    with pytest.raises(ConfigError, match="needs the length of the texts too"):
        make_plan(loaded, assumed=Assumed(3, 20))
    assert make_plan(loaded, assumed=Assumed(3, 20, 24)).subject.profiles


def test_a_bench_times_the_right_answers(home: Path) -> None:
    bench = bench_of(check_config(config(home)), torch.device("cpu"))
    assert bench.profile.rows == 4
    assert f"targets [{len(bench.rows.take(bench.batch)[0]['targets'])}]" in bench.shape


def test_a_task_that_the_data_are_not_for_is_an_error(home: Path) -> None:
    loaded = check_config(config(home, model={"path": "llama", "task": "text-classification"}))
    with pytest.raises(ConfigError, match="does not fit the data, whose inputs are for multiple-choice"):
        load_rows(loaded)


def test_a_new_head_is_refused_with_file_and_key(home: Path) -> None:
    loaded = check_config(config(home, model={"path": "llama", "head": "new"}))
    with pytest.raises(ConfigError, match=r"^model.path: multiple-choice scores texts with the language-model head"):
        load_network(loaded, load_rows(loaded))


def test_a_tied_head_is_refused_by_its_key(home: Path, tmp_path: Path) -> None:
    values = config(home, model={"path": "llama", "always": ["lm_head"]}, output=str(tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"^model.always: 'lm_head' shares its weights with 'model.embed_tokens'"):
        prepare_run(check_config(values))
