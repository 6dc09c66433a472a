"""The documentation is true: keys, kinds, options, defaults, commands, fields, links and code are those of the code."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, get_args, get_type_hints

import pytest
import typer.main
import yaml
from pydantic import BaseModel

import fedstrata
import fedstrata.errors
from fedstrata.cli.main import app
from fedstrata.config.catalog import CATALOG, describe, load_object, nested
from fedstrata.config.schema import Config
from fedstrata.deploy.site.site_schema import SiteSection
from fedstrata.domain.reasons import Reason
from fedstrata.domain.records import (
    SCHEMA,
    Abandoned,
    ClientRecord,
    LayerRecord,
    LayerTheory,
    Metrics,
    RoundRecord,
    TheoryRecord,
)
from fedstrata.runs.result_files import COLUMNS
from fedstrata.sweeping.schema import MethodSection, SweepSection

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*(p for p in DOCS.rglob("*.md") if "_build" not in p.parts), *ROOT.glob("*.md")])
KINDS = [(family, kind) for family, kinds in CATALOG.items() for kind in kinds]
VERBS: Mapping[str, Any] = {
    " ".join((name, *inner)): command
    for name, group in typer.main.get_group(app).commands.items()
    for inner, command in (
        [((sub,), c) for sub, c in group.commands.items()] if hasattr(group, "commands") else [((), group)]
    )
}
"""Every command by its words, such as ``run`` or ``bench client``."""
NEEDED = object()


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def table(text: str) -> dict[str, str]:
    """Return the default of each key in the rows ``| `key` | type | default | meaning |``."""
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| ([^|]+) \| .* \|$", text, re.MULTILINE)
    return {key: default.strip().strip("`") for key, default in rows}


def shown(value: object) -> str:
    """Return a value as the documentation writes it."""
    if value is NEEDED:
        return "needed"
    if isinstance(value, BaseModel):
        return "{}"
    if is_dataclass(value) and not isinstance(value, type):
        return "{" + ", ".join(f"{k}: {v}" for k, v in describe(value).items()) + "}"
    return value if isinstance(value, str) else json.dumps(value)


def section(family: str, kind: str) -> str:
    text = (DOCS / "reference" / "components.md").read_text(encoding="utf-8")
    found = re.search(rf"^### {family} `{kind}`\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/reference/components.md has no section '### {family} `{kind}`'"
    return found[1]


def schema_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, field in model.model_fields.items():
        default = NEEDED if field.is_required() else field.get_default(call_default_factory=True)
        yield prefix + name, default
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from schema_keys(inner, f"{prefix}{name}.")


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_every_kind_is_documented_with_its_options_and_defaults(family: str, kind: str) -> None:
    options = {
        f.name: f.default
        if f.default is not MISSING
        else f.default_factory()
        if f.default_factory is not MISSING
        else NEEDED
        for f in fields(load_object(CATALOG[family][kind]))
    }
    text = section(family, kind)
    assert table(text) == {name: shown(default) for name, default in options.items()}
    assert options or text.rstrip().endswith("No options.")


def test_no_section_describes_a_kind_that_does_not_exist() -> None:
    text = (DOCS / "reference" / "components.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^### (\S+) `(\S+)`$", text, re.MULTILINE)) == set(KINDS)


def test_every_configuration_key_is_documented_with_its_default() -> None:
    text = (DOCS / "reference" / "config.md").read_text(encoding="utf-8")
    assert table(text) == {key: shown(default) for key, default in schema_keys(Config)}


def test_every_key_of_a_site_s_file_is_documented_with_its_default() -> None:
    text = (DOCS / "reference" / "site.md").read_text(encoding="utf-8")
    assert table(text) == {key: shown(default) for key, default in schema_keys(SiteSection)}


def test_every_key_of_a_sweep_s_file_is_documented_with_its_default() -> None:
    text = (DOCS / "reference" / "sweep.md").read_text(encoding="utf-8")
    sweep, _, method = text.partition("Keys of a method")
    assert table(sweep) == {key: shown(default) for key, default in schema_keys(SweepSection)}
    assert table(method) == {key: shown(default) for key, default in schema_keys(MethodSection)}


@pytest.mark.parametrize(
    "record", [ClientRecord, RoundRecord, LayerRecord, LayerTheory, TheoryRecord, Metrics, Abandoned]
)
def test_every_field_of_the_event_log_is_documented(
    record: type[ClientRecord | RoundRecord | LayerRecord | LayerTheory | TheoryRecord | Metrics | Abandoned],
) -> None:
    text = (DOCS / "reference" / "run-folder.md").read_text(encoding="utf-8")
    assert f"`schema` (now {SCHEMA})" in text
    missing = [f.name for f in fields(record) if f.name != "clients" and f"`{f.name}`" not in text]
    assert missing == []


def test_columns_of_the_metrics_are_documented_in_order() -> None:
    text = (DOCS / "reference" / "run-folder.md").read_text(encoding="utf-8")
    assert ", ".join(f"`{c}`" for c in COLUMNS) in text.replace("\n", " ")


def test_error_page_draws_the_tree_of_the_code() -> None:
    text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    drawn = (fedstrata.errors.__doc__ or "").replace("``", "").partition("\n\n")[2].strip()
    assert drawn in text


def test_every_reason_code_is_documented() -> None:
    text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE) == list(Reason)


def test_reasons_that_the_source_names_as_text_are_codes() -> None:
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r'reason(?:: str)? ?= ?"([A-Z_]+)"', source))
    assert {"CLIENT_ERROR", "NONFINITE"} <= named <= set(Reason)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each ``fedstrata ...`` command, from console blocks and from inline code."""
    lines = [line for block in blocks(text, "console") for line in block.splitlines()]
    told = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    told += re.findall(r"`(fedstrata [^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in told:
        words = shlex.split(line, comments=True)
        if words[0] == "fedstrata" and "VERB" not in words:
            yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist_with_their_options(page: Path) -> None:
    general = {option for p in typer.main.get_group(app).params for option in p.opts} | {"--help", "-h"}
    for words in commands(page.read_text(encoding="utf-8")):
        plain = [w for w in words if not w.startswith("-")]
        verb = next((v for v in (" ".join(plain[:2]), *plain[:1]) if v in VERBS), plain[0] if plain else None)
        assert verb is None or verb in VERBS, f"'fedstrata {' '.join(words)}': no such verb"
        if verb == "flower private":  # what follows is another program's
            others = (i for i, word in enumerate(words) if word.startswith(("flwr", "flower-")))
            words = words[: next(others, len(words))]
        known = general | ({o for p in VERBS[verb].params for o in p.opts} if verb else set())
        assert [w for w in words if w.startswith("-") and w not in known] == [], f"fedstrata {' '.join(words)}"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_command_page_names_every_option(verb: str) -> None:
    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    part = text.partition(f"\n## {verb}\n")[2].partition("\n## ")[0]
    options = [p.opts[0] for p in VERBS[verb].params if p.param_type_name == "option" and not p.hidden]
    assert [o for o in options if o not in ("--help", "--debug") and o not in part] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    text = page.read_text(encoding="utf-8")
    named = [t for line in re.findall(r"\bmake ((?:[a-z]+ ?)+)`", text) for t in line.split()]
    named += [line.split()[1] for b in blocks(text, "console") for line in re.findall(r"^\$ (make .*)$", b, re.M)]
    assert [t for t in named if t not in targets] == []


def check_options(family: str, spec: object) -> None:
    """Hold a component in an example to the catalog: its kind and the names of its options."""
    values = {"kind": spec} if isinstance(spec, str) else spec
    if not isinstance(values, dict) or ":" in values.get("kind", ""):
        return
    kind = values.get("kind", {"data": "files", "budget": "fixed"}.get(family, ""))
    assert kind in CATALOG[family], f"no {family} is called '{kind}'"
    known = {f.name for f in fields(load_object(CATALOG[family][kind]))} | {"kind"}
    assert set(values) <= known, f"{family} '{kind}' has no option {set(values) - known}"
    hints = get_type_hints(load_object(CATALOG[family][kind]))
    for name in set(values) - {"kind"}:
        if (inner := nested(hints[name])) is not None:
            check_options(inner, values[name])


@pytest.mark.parametrize("page", [p for p in PAGES if DOCS in p.parents], ids=name_of)
def test_configurations_in_examples_use_keys_and_options_that_exist(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8"), "yaml"):
        of_site = block.startswith("# site.yaml")
        if block.startswith("# sweep.yaml"):
            SweepSection.model_validate(yaml.safe_load(block))
            continue
        known = {key for key, _ in schema_keys(SiteSection if of_site else Config)}
        for key, value in yaml.safe_load(block).items():
            assert key in known
            if key in CATALOG and not of_site:
                check_options(key, value)
            elif isinstance(value, dict) and any(k.startswith(f"{key}.") for k in known):
                assert [f"{key}.{inner}" for inner in value if f"{key}.{inner}" not in known] == []


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name_of(page)} links to {link}, which has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_of_tests_and_sources_that_pages_name_exist(page: Path) -> None:
    named = re.findall(r"`((?:tests|src)/[\w/]+\.py)`", page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_files_of_tests_that_docstrings_name_exist() -> None:
    source = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py"))}
    named = {(path.name, name) for path, text in source.items() for name in re.findall(r"tests/[\w/]+\.py", text)}
    assert len(named) > 50
    assert [(where, name) for where, name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_promise_names_tests() -> None:
    text = (DOCS / "concepts" / "reliability.md").read_text(encoding="utf-8")
    promises = re.findall(r"^## \d\. .+?(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert len(promises) == 7
    assert [p.splitlines()[0] for p in promises if "`tests/" not in p] == []


def test_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    apart = ("README.md", "index.md")
    pages = [p.relative_to(DOCS).as_posix() for p in PAGES if DOCS in p.parents and p.name not in apart]
    pages = [page for page in pages if not page.startswith("developing/")]  # these show pages of the root
    assert [page for page in pages if f"({page})" not in index] == []
    tree = (DOCS / "index.md").read_text(encoding="utf-8").splitlines()
    assert [page for page in pages if page[:-3] not in tree and not page.startswith("adr/")] == []


@pytest.mark.parametrize(
    "page",
    [
        p
        for p in PAGES
        if p.parent.name in ("how-to", "concepts", "reference") and "```python" in p.read_text(encoding="utf-8")
    ],
    ids=name_of,
)
def test_python_in_guides_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    written = []
    for code in blocks(page.read_text(encoding="utf-8"), "python"):
        if named := re.match(r"# file: (\w+)\.py\n", code):
            (tmp_path / f"{named[1]}.py").write_text(code, encoding="utf-8")
            written.append(named[1])
        else:
            exec(compile(code, str(page), "exec"), {"__name__": "guide"})
    for module in written:
        assert sys.modules.pop(module, None), f"{page.name} never uses {module}.py"


def public_modules() -> list[str]:
    inside = [f"fedstrata.{m.name}" for m in iter_modules(fedstrata.__path__) if m.name != "__main__"]
    return ["fedstrata", *inside]


@pytest.mark.parametrize("module", public_modules())
def test_public_names_are_sorted_and_exist(module: str) -> None:
    found = import_module(module)
    names = list(getattr(found, "__all__", ()))
    assert names == sorted(names)
    assert [name for name in names if not hasattr(found, name)] == []


def test_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == fedstrata.__version__
    assert citation["references"][0]["url"] == "https://arxiv.org/abs/2408.15600"
