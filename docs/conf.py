"""Sphinx: the Markdown of this folder as a site; ``make docs`` builds it, and a reference that leads nowhere fails."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

project = "fedstrata"
author = "The fedstrata authors"
extensions = ["myst_parser"]
exclude_patterns = ["_build", "README.md"]
html_theme = "furo"
myst_heading_anchors = 3

ROOT = Path(__file__).parents[1]
ROOT_PAGES = {
    path.stem: f"/developing/{path.stem.lower()}.md" for path in ROOT.glob("[A-Z]*.md") if path.stem != "README"
}
"""Pages that lie in the root of the repository, where people look for them, and where the site shows them."""


def setup(app: Sphinx) -> None:
    """Let the site show pages that lie elsewhere, and links to them lead there."""
    app.connect("source-read", show)


def show(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put a page in the place of the one that stands for it, and turn links between the two around."""
    if docname == "index":
        source[0] = (ROOT / "docs" / "README.md").read_text(encoding="utf-8") + source[0]
    for name, page in ROOT_PAGES.items():
        if page == f"/{docname}.md":
            app.env.note_dependency(ROOT / f"{name}.md")
            source[0] = (ROOT / f"{name}.md").read_text(encoding="utf-8").replace("](docs/", "](/")
    names = "|".join(ROOT_PAGES)
    source[0] = re.sub(rf"\]\((?:\.\./)*({names})\.md", lambda found: f"]({ROOT_PAGES[found[1]]}", source[0])
    source[0] = source[0].replace("](/README.md", "](/index.md")
