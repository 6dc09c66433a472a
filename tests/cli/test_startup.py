"""What is wrong with a command is said before anything is imported that takes seconds; counted in imports, not time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SLOW = {"torch", "transformers", "datasets", "scipy", "pandas", "pyarrow", "sklearn", "matplotlib", "flwr"}
SCRIPT = """
import json, sys
from fedstrata.cli.main import invoke
told = []
for arguments in json.loads(sys.argv[1]):
    code = invoke(arguments)
    told.append([code, sorted({name.partition(".")[0] for name in sys.modules})])
print(json.dumps(told))
"""
RUN = """\
model: {{path: {model}}}
data: {{train: {train}, test: test.csv, text: text, partition: {{kind: iid, clients: 2}}}}
selector: {{kind: consensus, rho: 2}}
"""


def test_wrong_keys_and_paths_are_told_without_slow_imports(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("text,label\na,b\n")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text("{}")
    (tmp_path / "bert" / "model.safetensors").write_text("")
    (tmp_path / "typo.yaml").write_text(RUN.format(model="bert", train="test.csv") + "bugdet: 3\n")
    (tmp_path / "option.yaml").write_text(RUN.format(model="bert", train="test.csv").replace("rho", "roh"))
    (tmp_path / "model.yaml").write_text(RUN.format(model="bret", train="test.csv"))
    (tmp_path / "data.yaml").write_text(RUN.format(model="bert", train="tset.csv"))
    cases: dict[str, tuple[list[str], int, str]] = {
        "a key": (["run", "typo.yaml"], 2, "did you mean 'budget'?"),
        "a component's option": (["run", "option.yaml"], 2, "did you mean 'rho'?"),
        "a model's folder": (
            ["run", "model.yaml"],
            2,
            "model.yaml:1:9: model.path: model folder 'bret'",
        ),
        "a file of the data": (["run", "data.yaml"], 3, "did you mean 'test.csv'?"),
        "a plan's model": (["plan", "model.yaml"], 2, "did you mean 'bert'?"),
        "a model to show": (["layers", "bret"], 2, "did you mean 'bert'?"),
        "a run folder": (["resume", "nowhere"], 4, "there is no run folder nowhere"),
        "a folder to report": (["report", "nowhere"], 4, "run folder nowhere does not exist"),
        "a folder to compare": (["compare", "nowhere"], 4, "nowhere"),
    }
    script = [sys.executable, "-c", SCRIPT, json.dumps([arguments for arguments, _, _ in cases.values()])]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=True)

    told, said = json.loads(done.stdout.splitlines()[-1]), done.stderr.splitlines()
    assert len(told) == len(said) == len(cases)
    for (case, (_, code, message)), (got, modules), line in zip(cases.items(), told, said, strict=True):
        assert (case, got, SLOW & set(modules)) == (case, code, set())
        assert message in line, case


def test_a_model_s_layers_are_shown_without_what_only_reports_need() -> None:
    script = [sys.executable, "-c", SCRIPT, json.dumps([["layers", "embedded:vit-digits", "--json"]])]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    [[code, modules]] = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert {"torch", "transformers"} <= set(modules)
    assert not {"matplotlib", "pandas", "pyarrow", "datasets", "sklearn", "flwr"} & set(modules)
