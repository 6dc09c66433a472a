"""Figures of reports as inline SVG: one file per kind, drawn on ``svg.py`` and ``axes.py``."""
