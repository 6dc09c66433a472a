"""The page in a real browser: opens from a file, asks for nothing, says nothing on the console, fits a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from fedstrata.report.write_report import write_report
from report.synthetic_run import write_run
from waiting import HANG

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
UNNAMED = "[...document.querySelectorAll('svg')].filter(s => !s.getAttribute('aria-label') && !s.ariaHidden).length"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT_OFF = """[...document.querySelectorAll('figure svg')].flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const own = text.getBoundingClientRect();
    return own.left < box.left - 1 || own.right > box.right + 1 || own.bottom > box.bottom + 1;
  }).map(text => text.textContent);
})"""

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS, timeout=1000 * HANG)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("runs")
    one = write_run(base / "one", failing="client-04", names=("<script>alert(1)</script>", "client-04", "c"))
    several = [
        write_run(base / f"{m}-{s}", method=m, seed=s, certified=m == "consensus")
        for m in ("full", "consensus")
        for s in (1, 2)
    ]
    empty = write_run(base / "empty", rounds=0, planned=3, end="failed")
    return {
        "one": write_report([one], base / "one.html"),
        "several": write_report(several, base / "several.html"),
        "empty": write_report([empty], base / "empty.html"),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("name", ["one", "several", "empty"])
def test_page_opens_from_a_file_in_silence(
    browser: Browser, pages: dict[str, Path], tmp_path: Path, name: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(1000 * HANG)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    shot = tmp_path / "page.png"
    page.screenshot(path=str(shot), full_page=True)
    assert said == []
    assert asked == [pages[name].as_uri()]
    assert page.evaluate(UNNAMED) == 0
    assert page.evaluate(OVERFLOW) <= 0
    assert shot.stat().st_size > 10_000
    page.close()


@pytest.mark.parametrize("name", ["one", "several"])
def test_page_prints_to_a4(browser: Browser, pages: dict[str, Path], tmp_path: Path, name: str) -> None:
    page = browser.new_page(viewport={"width": 688, "height": 1000})
    page.goto(pages[name].as_uri())
    page.emulate_media(media="print")
    assert page.evaluate(OVERFLOW) <= 0
    page.pdf(path=str(tmp_path / "page.pdf"), format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    page.close()


def test_cell_says_its_count_on_hover(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["one"].as_uri())
    tip = page.locator("#selection path title").first.text_content()
    assert tip is not None
    assert tip.startswith("layer.0, round 1: ")
    page.close()


def test_dot_says_what_was_predicted_and_measured_on_hover(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["one"].as_uri())
    tips = page.locator("#predicted circle title").all_text_contents()
    assert tips
    assert all("predicted" in tip and "measured" in tip for tip in tips)
    page.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["one", "several"])
def test_no_label_of_a_plot_is_cut_off(browser: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(pages[name].as_uri())
    assert page.locator("figure.small svg").count() >= 4
    assert page.evaluate(CUT_OFF) == []
    page.close()
