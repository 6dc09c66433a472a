"""Playing one run of a sweep in this process, to the same bits as ``fedstrata run`` of its configuration."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from fedstrata.assembly.finish import finish
from fedstrata.assembly.model_card import model_card
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.run import prepare_run, reopen_run
from fedstrata.assembly.shared import Shared
from fedstrata.config.load import check_config
from fedstrata.files import new_folder, write_atomic, writing
from fedstrata.parsing.problems import Marks
from fedstrata.parsing.yaml_text import yaml_value
from fedstrata.runs.checkpoint import clear
from fedstrata.runs.folder import RunFolder
from fedstrata.server.observers import Quiet
from fedstrata.server.run import RunResult


def play(
    path: Path,
    *,
    config: str,
    marks: Marks,
    keep_model: bool,
    shared: Shared,
    stop: Callable[[], bool],
    tell: Callable[[int], None],
) -> str:
    """Start a run, or go on with one that has begun, and return its state: ``finished`` or ``interrupted``.

    Args:
        path: Its run folder.
        config: Its configuration as YAML, every default written out.
        marks: Where the values stand.
        keep_model: Whether its model and checkpoints stay once it has finished.
        shared: What it shares with other runs of this process.
        stop: Asked after each round; true ends the run early with everything saved.
        tell: Is told after each round how many are done.

    Raises:
        FedstrataError: The run cannot be played.
    """
    begun = RunFolder(path).config.is_file()
    if begun:
        prepared = reopen_run(path, shared=shared)
    else:
        if path.exists():  # what a beginning that was broken off has left; who asks has looked
            shutil.rmtree(path)
        values, _ = yaml_value(config, path.name)
        prepared = prepare_run(check_config(values, marks=marks), shared)
    watching = Quiet(
        run_started=lambda *, first_round, **_: tell(first_round - 1), round_done=lambda record: tell(record.round)
    )
    run = prepared.run(observer=watching, stop=stop)
    result = run.resume(prepared.weights) if begun else run.start(prepared.weights)
    if keep_model:
        finish(prepared, result)
    else:
        _leave_card(prepared, result)
    return result.state


def _leave_card(prepared: PreparedRun, result: RunResult) -> None:
    """Delete checkpoints, and keep the model's card, which says that the run has finished."""
    if result.state != "finished":
        return
    card = model_card(prepared.loaded, prepared.setting, prepared.data, result.summary)
    with writing(prepared.folder.path, "make room"):
        with new_folder(prepared.folder.model, shared=True) as folder:
            write_atomic(folder / "README.md", f"{card}\nThe sweep that made it kept no weights.\n", shared=True)
        clear(prepared.folder.checkpoints)
        prepared.folder.forget_answers()
        shutil.rmtree(prepared.folder.client_states, ignore_errors=True)
