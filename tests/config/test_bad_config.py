"""Bad configurations: one sentence with file, line, what to do; exit code 2; never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SELECTOR = "kind: consensus\n  rho: 0.5"

SENTENCES: list[tuple[str, dict[str, Any], str]] = [
    ("unknown key", {"add": "trian: 3\n"}, "c.yaml:19:1: trian: no such key; did you mean 'train' or 'trainer'?"),
    (
        "unknown nested key",
        {"old": "lr: 0.1", "new": "lrr: 0.1"},
        "c.yaml:17:3: train.lrr: no such key; did you mean 'lr'?",
    ),
    (
        "unknown option",
        {"old": "rho: 0.5", "new": "rhoo: 1"},
        "c.yaml:10:3: selector.rhoo: no such option; did you mean 'rho'?",
    ),
    ("key that is a number", {"add": "1: x\n"}, "c.yaml:19:1: 1: no such key; known: name, model"),
    (
        "text for a number",
        {"old": "rounds: 1", "new": "rounds: many"},
        "c.yaml:15:3: train.rounds: has to be a whole number, got 'many'",
    ),
    (
        "text for a number in a component",
        {"old": "layers: 1", "new": "layers: x"},
        "c.yaml:13:3: budget.layers: budget 'fixed' has layers: 'x', which is not a number; write a number such as 2",
    ),
    ("out of range", {"old": "lr: 0.1", "new": "lr: -1"}, "c.yaml:17:3: train.lr: has to be greater than 0, got -1"),
    (
        "infinite rate",
        {"old": "lr: 0.1", "new": "lr: .inf"},
        "c.yaml:17:3: train.lr: has to be a finite number, got inf",
    ),
    (
        "list for a section",
        {"old": "seed: 3", "new": "probe: [1]"},
        "c.yaml:18:1: probe: has to be a mapping of keys to values, got [1]",
    ),
    (
        "list for a component",
        {"old": f"selector:\n  {SELECTOR}", "new": "selector: [a]"},
        "c.yaml:8:1: selector: has to be a kind, or a mapping with a kind and its options; known: full, head-only",
    ),
    (
        "fraction for a budget",
        {"old": "budget:\n  kind: fixed\n  layers: 1", "new": "budget: 1.5"},
        "c.yaml:11:1: budget: has to be a kind, or a mapping with a kind",
    ),
    (
        "number for a partition",
        {"old": "partition: {kind: iid, clients: 3}", "new": "partition: 5"},
        "c.yaml:7:3: data.partition: has to be a kind",
    ),
    (
        "literal",
        {"old": "path: embedded:vit-digits", "new": "path: x\n  head: kep"},
        "c.yaml:3:3: model.head: has to be 'auto', 'keep' or 'new' (did you mean 'keep'?), got 'kep'",
    ),
    (
        "either or",
        {"old": "steps: 1", "new": "steps: 1\n  epochs: 2"},
        "c.yaml:14:1: train: give 'steps' or 'epochs', not both",
    ),
    ("key given twice", {"add": "seed: 4\n"}, "c.yaml:19:1: 'seed' is given twice; keep one"),
    ("broken YAML", {"add": "x: [1, 2\n"}, "c.yaml:20:1: this is not YAML: expected ',' or ']'"),
    ("tab", {"add": "\tx: 1\n"}, "c.yaml:19:1: this is not YAML: found character '\\t'"),
    ("control character", {"add": "name: \x01\n"}, "c.yaml: this is not YAML: unacceptable character"),
    ("list for a key", {"add": "? [a]\n: x\n"}, "c.yaml:19:3: a key has to be a word, not a list or mapping"),
    ("alias of itself", {"add": "x: &a [*a]\n"}, "c.yaml:19:8: an alias (*a) holds itself; write the value out"),
    (
        "impossible date",
        {"add": "name: 2024-13-45\n"},
        "c.yaml:19:7: name: '2024-13-45' is no value: month must be in 1..12; put it in quotes",
    ),
    (
        "empty file",
        {"whole": ""},
        "c.yaml:1:1: model: this key is needed\nfedstrata: c.yaml:1:1: data: this key is needed",
    ),
    ("no mapping", {"whole": "hello\n"}, "c.yaml:1:1: a configuration is a mapping of keys to values, got str"),
    (
        "missing key",
        {"old": "model:\n  path: embedded:vit-digits\n", "new": ""},
        "c.yaml:1:1: model: this key is needed",
    ),
    (
        "unknown kind",
        {"old": "kind: consensus", "new": "kind: consensas"},
        "c.yaml:9:3: selector.kind: no selector is called 'consensas'; did you mean 'consensus'?",
    ),
    (
        "unknown inner kind",
        {"old": SELECTOR, "new": "kind: periodic\n  every: 2\n  inner: {kind: rando}"},
        "c.yaml:11:11: selector.inner.kind: no selector is called 'rando'; did you mean 'random'?",
    ),
    (
        "option that is needed",
        {"old": "  layers: 1\n", "new": ""},
        "c.yaml:11:1: budget: budget 'fixed' limits nothing; give layers",
    ),
    (
        "option without meaning",
        {"old": "rho: 0.5", "new": "rho: .nan"},
        "c.yaml:10:3: selector.rho: selector 'consensus' has rho: nan; it must be a number",
    ),
    (
        "custom module",
        {"old": SELECTOR, "new": "kind: nope:Class"},
        "c.yaml:9:3: selector.kind: cannot import 'nope' of 'nope:Class'",
    ),
    (
        "custom class",
        {"old": SELECTOR, "new": "kind: json:JSONDecode"},
        "c.yaml:9:3: selector.kind: 'json' has no 'JSONDecode'; did you mean 'JSONDecoder' or 'JSONDecodeError'",
    ),
    (
        "custom class without fields",
        {"old": SELECTOR, "new": "kind: json:JSONDecoder"},
        "json:JSONDecoder has to be a dataclass",
    ),
    (
        "missing model",
        {"old": "embedded:vit-digits", "new": "./nope"},
        "c.yaml:2:3: model.path: model folder 'nope' does not exist",
    ),
    ("unknown embedded model", {"old": "vit-digits", "new": "vit-digit"}, "did you mean 'embedded:vit-digits'?"),
    (
        "candidates",
        {"old": "vit-digits", "new": "vit-digits\n  candidates: 9"},
        "c.yaml:3:3: model.candidates: layer 9 does not exist: the model has 6 layers, 0..5",
    ),
    (
        "candidate of no type",
        {"old": "vit-digits", "new": "vit-digits\n  candidates: 1.5"},
        "c.yaml:3:3: model.candidates: has to be text or a whole number or a list, got 1.5",
    ),
    (
        "always",
        {"old": "vit-digits", "new": "vit-digits\n  always: [layernrm]"},
        "c.yaml:3:3: model.always: no block is named 'layernrm'; did you mean",
    ),
    (
        "fixed layers",
        {"old": SELECTOR, "new": "kind: fixed\n  layers: 17"},
        "c.yaml:8:1: selector: layer 17 does not exist",
    ),
    (
        "task",
        {"old": "vit-digits", "new": "vit-digits\n  task: text-classification"},
        "c.yaml:3:3: model.task: text-classification does not fit the data",
    ),
    (
        "budget of nothing",
        {"old": "layers: 1", "new": "layers: 0"},
        "c.yaml:11:1: budget: no client can pay for a single layer: client client-00's budget is 0 layers and the",
    ),
    ("full on a small budget", {"old": SELECTOR, "new": "kind: full"}, "c.yaml:8:1: selector: selector 'full' needs "),
    (
        "budget of an unknown client",
        {"old": "kind: fixed\n  layers: 1", "new": "kind: per-client\n  clients: {client-0: 1}\n  default: 1"},
        "names client 'client-0', which does not exist; did you mean 'client-02'",
    ),
    (
        "more clients per round than there are",
        {"add": "sampler: {kind: uniform, clients_per_round: 9}\n"},
        "c.yaml:19:1: sampler: sampler 'uniform' has clients_per_round: 9, but there are 3 clients; set it to 3",
    ),
    (
        "fp16 on a CPU",
        {"old": "lr: 0.1", "new": "lr: 0.1\n  precision: fp16", "add": "device: cpu\n"},
        "c.yaml:18:3: train.precision: fp16 needs a GPU and this run is on the CPU; use fp32, bf16 or auto",
    ),
]


@pytest.mark.parametrize(("case", "sentence"), [c[1:] for c in SENTENCES], ids=[c[0] for c in SENTENCES])
def test_one_sentence_and_exit_code_2(broken: Callable[..., Any], case: dict[str, Any], sentence: str) -> None:
    said = broken(**case)
    assert sentence in said.err
    assert said.code == 2
    assert said.out == ""
    assert not Path("out").exists()


def test_every_line_says_who_speaks(broken: Callable[..., Any]) -> None:
    assert all(line.startswith("fedstrata: ") for line in broken(whole="").err.splitlines())


def test_all_problems_are_said_at_once_in_the_order_of_the_file(broken: Callable[..., Any]) -> None:
    said = broken("rounds: 1", "rounds: many", "--set", "selector.rhoo=1", add="foo: 1\n")
    assert [line.split(": ")[2] for line in said.err.splitlines()] == ["train.rounds", "foo", "selector.rhoo"]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train", "override 'train': write it as key.path=value, such as train.lr=0.1"),
        (".lr=1", "override '.lr=1': write it as key.path=value"),
        ("train.lrr=1", "override 'train.lrr=1': train.lrr: no such key; did you mean 'lr'?"),
        ("train.lr=abc", "override 'train.lr=abc': train.lr: has to be a number, got 'abc'"),
        ("train.lr=[", "override 'train.lr=[': '[' is not a YAML value"),
        ("seed.x=1", "override 'seed.x=1': 'seed' is a single value and has no keys"),
        (
            "selector.kind=tap",
            "override 'selector.kind=tap': selector.kind: no selector is called 'tap'; did you mean 'top'?",
        ),
        (
            "budget.layers=x",
            "override 'budget.layers=x': budget.layers: budget 'fixed' has layers: 'x', which is not a number",
        ),
        ("model.candidates=last:9", "override 'model.candidates=last:9': model.candidates: "),
    ],
)
def test_a_bad_override_names_itself(broken: Callable[..., Any], override: str, sentence: str) -> None:
    said = broken("", "", "--set", override)
    assert sentence in said.err
    assert said.code == 2


def test_missing_file_names_the_one_that_is_there(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    assert (
        cli("run", "mine.yml").err == "fedstrata: there is no configuration file mine.yml; did you mean 'mine.yaml'?\n"
    )


def test_missing_file_where_there_is_none_says_how_to_get_one(cli: Callable[..., Any]) -> None:
    assert "'fedstrata init' writes one" in cli("run", "nothing.yaml").err


def test_a_folder_is_no_configuration(cli: Callable[..., Any], tmp_path: Path) -> None:
    assert "is a folder; name the configuration file in it" in cli("run", str(tmp_path)).err


def test_a_binary_file_is_no_configuration(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00")
    assert cli("run", "c.yaml").err == "fedstrata: c.yaml cannot be read: it is not a text in UTF-8\n"


@pytest.mark.parametrize(
    ("inside", "advice"),
    [
        ("note.txt", "exists and is not empty, and it is no run folder; choose another folder"),
        ("config.resolved.yaml", "not empty; choose another folder, or go on with: fedstrata resume out"),
        ("config.resolved.yaml model/config.json", "it holds a run that has finished; choose another folder"),
    ],
)
def test_output_that_is_taken_advises_resume_only_where_it_goes_on(
    broken: Callable[..., Any], tmp_path: Path, inside: str, advice: str
) -> None:
    for name in inside.split():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).touch()
    said = broken()
    assert "override 'output=out': output: out exists and is not empty" in said.err
    assert advice in said.err
    assert said.code == 2


def test_output_that_is_a_file(broken: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    assert "output: out is a file; name a folder" in broken().err


def test_output_below_a_file(broken: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = broken("", "", "--set", "output=file/run")
    assert "output: cannot make the run folder file/run: Not a directory; choose another" in said.err
    assert said.code == 2


def test_a_gpu_that_is_not_there(broken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    said = broken(add="device: cuda\n")
    assert "c.yaml:19:1: device: 'cuda' is asked for, and torch finds none on this machine; use auto or cpu" in said.err
    assert said.code == 2


@pytest.mark.parametrize("where", ["before", "after"])
def test_debug_shows_the_traceback(cli: Callable[..., Any], where: str) -> None:
    arguments = ["--debug", "run", "no.yaml"] if where == "before" else ["run", "no.yaml", "--debug"]
    said = cli(*arguments)
    assert "Traceback" in said.err
    assert "ConfigError" in said.err
    assert said.code == 2


SELECTS = """\
    def init(self, layers): ...
    def probes(self, round, cohort, state): ...
    def select(self, problem, state): ...
"""
"""Methods that make a class a selector, as far as its interface goes."""


class TestCustomCode:
    """A user's own module beside the configuration."""

    @pytest.mark.parametrize(
        ("code", "sentence"),
        [
            ("def broken(:", "cannot import 'mine_{n}' of 'mine_{n}:Mine': SyntaxError: "),
            ("1 / 0", "cannot import 'mine_{n}' of 'mine_{n}:Mine': ZeroDivisionError: division by zero in <module> ("),
            (
                "from dataclasses import dataclass\n@dataclass\nclass Mine:\n    x: 'Nope' = 1\n" + SELECTS,
                "the types of mine_{n}:Mine's fields are not known at run time: name 'Nope' is not defined",
            ),
            (
                "from dataclasses import dataclass\n@dataclass\nclass Mine:\n"
                "    def __post_init__(self):\n        raise TypeError('no')\n" + SELECTS,
                "c.yaml:8:1: selector: mine_{n}:Mine refused its options: TypeError: no in Mine.__post_init__ (",
            ),
        ],
        ids=["syntax", "import", "types", "post-init"],
    )
    def test_what_it_raises_is_a_sentence(
        self, broken: Callable[..., Any], tmp_path: Path, code: str, sentence: str
    ) -> None:
        number = abs(hash(code))
        (tmp_path / f"mine_{number}.py").write_text(code)
        said = broken(SELECTOR, f"kind: mine_{number}:Mine")
        assert sentence.replace("{n}", str(number)) in said.err
        assert said.code == 2
