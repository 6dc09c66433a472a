"""The page: whole, self-contained, escaped, the same twice, and small enough to send."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fedstrata.errors import ConfigError
from fedstrata.report.write_report import write_report
from fedstrata.runs.reading import read_run
from report.synthetic_run import moved_layer, write_run

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Outline(HTMLParser):
    """Collects tags, ids and text, and whether every tag is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.ids += [v for k, v in attrs if k == "id" and v]
        self.links += [v for k, v in attrs if k in ("src", "href") and v]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(runs: list[Path], out: Path) -> str:
    return write_report(runs, out / "report.html").read_text(encoding="utf-8")


def test_page_of_one_run_has_its_sections_in_reading_order(tmp_path: Path) -> None:
    page = page_of([write_run(tmp_path / "a", failing="client-04")], tmp_path)
    assert [re.sub("<.*?>", "", h).strip() for h in re.findall("<h2>(.*?)</h2>", page)] == [
        "1 Verdict",
        "2 Accuracy",
        "3 Which layers were trained",
        "4 Costs",
        "5 Predicted and measured",
        "6 Clients: accuracy of each, and who stands out",
        "7 Proof of training",
        "8 Data per client",
        "9 How near the masks are to the optimum",
        "10 Failures",
        "11 Configuration",
    ]


def test_page_of_several_runs_has_its_sections_in_reading_order(tmp_path: Path) -> None:
    page = page_of([write_run(tmp_path / m, method=m) for m in ("full", "top")], tmp_path)
    assert [re.sub("<.*?>", "", h).strip() for h in re.findall("<h2>(.*?)</h2>", page)] == [
        "1 Verdict",
        "2 Comparison",
        "3 Accuracy",
        "4 Cost and accuracy",
        "5 Predicted and measured",
        "6 Data per client",
        "7 Run by run",
    ]


def test_seeds_of_one_method_have_no_frontier(tmp_path: Path) -> None:
    page = page_of([write_run(tmp_path / f"s{s}", seed=s, rounds=2) for s in (1, 2)], tmp_path)
    assert "Cost and accuracy" not in page


def test_page_is_well_formed_with_unique_ids_and_no_outside_link(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / m, method=m) for m in ("full", "top")]
    outline = Outline(page_of(runs, tmp_path))
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert all(link.startswith("#") for link in outline.links)
    assert {link.removeprefix("#") for link in outline.links} <= set(outline.ids)
    assert not outline.tags["script"] + outline.tags["img"] + outline.tags["link"]


def test_numbers_of_the_page_are_those_of_the_records(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    rounds = read_run(folder).log.rounds
    text = " ".join(Outline(page_of([folder], tmp_path)).text)
    last = rounds[-1].test
    assert last is not None
    assert f"to {100 * last.accuracy:.1f}%" in text
    assert f"{sum(r.bytes_up for r in rounds) / 1e6:.2f} MB" in text
    assert f"{sum(r.bytes_down for r in rounds) / 1e6:.2f} MB" in text


def test_untrusted_text_is_escaped_wherever_it_comes_from(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "a <b>",
        names=(EVIL, '"onload="x', "${7*7}", "{{ 7*7 }}", "医院", "a\u2028b", "$\\frac{1}{2}$"),
        method=EVIL,
        data=EVIL,
        failing=EVIL,
        extra={"note": EVIL},
    )
    page = page_of([folder], tmp_path)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7*7 }}" in page
    assert Outline(page).open == []


def test_several_runs_are_compared_first_and_folded_after(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"{m}-{d}", method=m, data=d) for d in ("north", "south") for m in ("full", "top")]
    page = page_of(runs, tmp_path)
    assert [page.count(x) for x in ('<details class="run"', "north: test accuracy after the last round")] == [4, 3]
    assert page.index("Comparison") < page.index('<details class="run"')


def test_run_whose_proof_fails_is_told_at_the_top_of_a_comparison(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "good", method="a"), write_run(tmp_path / "bad", method="b", change=moved_layer)]
    top = page_of(runs, tmp_path).split('id="comparison"')[0]
    assert "bad: a check of the proof of training does not hold" in top
    assert "good: a check" not in top


@pytest.mark.parametrize("end", ["finished", "interrupted", "failed", None])
@pytest.mark.parametrize("rounds", [0, 1])
def test_short_and_broken_runs_have_a_page_without_empty_charts(tmp_path: Path, rounds: int, end: str | None) -> None:
    page = page_of([write_run(tmp_path / "a", rounds=rounds, planned=5, end=end)], tmp_path)
    said = {"finished": "finished", "interrupted": "Ctrl-C", "failed": "every client failed", None: "broken off"}
    assert said[end] in page
    assert f"{rounds} of 5 rounds" in page
    assert ("did not complete a round" in page) == (rounds == 0)


def test_one_round_without_baseline_or_held_out_rows_has_a_page(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "a", rounds=1, start=None, fairness=False, validation=False, certified=False, names=("solo",)
    )
    page = page_of([folder], tmp_path)
    assert "own held-out rows were not evaluated" in page
    assert "no certificate" in page


def test_truncated_log_has_a_page_that_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rounds=2)
    log = folder / "events.jsonl"
    log.write_text(log.read_text()[:-400])
    page = page_of([folder], tmp_path)
    assert "is cut off: the run was killed while it wrote this line" in page


def test_same_folders_give_the_same_bytes(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / m, method=m, rounds=2) for m in ("full", "top")]
    assert page_of(runs, tmp_path) == page_of(runs, tmp_path / "again")


def test_folder_named_twice_counts_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rounds=1)
    again = tmp_path / "a" / ".." / "a"
    assert page_of([folder, again], tmp_path) == page_of([folder], tmp_path)


def test_out_may_be_a_folder_and_the_title_is_ours(tmp_path: Path) -> None:
    written = write_report([write_run(tmp_path / "a", rounds=1)], tmp_path, title="Ward 3 & 4")
    assert written == tmp_path / "report.html"
    assert "<title>Ward 3 &amp; 4</title>" in written.read_text(encoding="utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "report.html"]


def test_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one run folder"):
        write_report([], tmp_path / "report.html")


def test_pages_of_fourteen_runs_and_of_a_large_one_stay_small(tmp_path: Path) -> None:
    demo = [write_run(tmp_path / f"{m}{d}", method=f"m{m}", data=d) for d in "ab" for m in range(7)]
    names = tuple(f"hospital-{i:03d}" for i in range(100))
    large = write_run(tmp_path / "large", names=names, rounds=50, layers=12, per_client=3, labels=20)
    assert len(page_of(demo, tmp_path)) < 1_200_000  # 14 runs, each with its loss curve and what it mistakes
    assert len(page_of([large], tmp_path)) < 2_000_000
