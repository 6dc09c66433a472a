"""The site's side of a run: its own file, its limits, its log of what leaves, and the worker that keeps all warm."""
