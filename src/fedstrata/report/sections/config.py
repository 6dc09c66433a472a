"""Configuration: every setting that was in force, and the command that runs it again."""

from __future__ import annotations

from shlex import quote

from fedstrata.report.blocks import Block, Code, Fold, Text
from fedstrata.runs.records import Run


def config(run: Run) -> tuple[Block, ...]:
    """Return the command that reproduces the run, and its resolved config."""
    if run.config is None:
        return (Text("The run folder holds no resolved config, so the run cannot be repeated from this report."),)
    command = f"fedstrata run {quote(f'{run.name}/config.resolved.yaml')} --set {quote(f'output={run.name}-again')}"
    return (
        Code("Run it again, from the folder that holds the run's folder", command),
        Fold("config.resolved.yaml", (Code("Every setting in force", run.config.rstrip()),)),
    )
