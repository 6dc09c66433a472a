"""Sphinx: the Markdown of this folder as a site; ``make docs`` builds it."""

from __future__ import annotations

project = "fedstrata"
author = "The fedstrata authors"
extensions = ["myst_parser"]
exclude_patterns = ["_build", "README.md"]
html_theme = "furo"
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]
"""Links out of this folder (ARCHITECTURE.md) have no page here; tests/docs checks every link."""
