"""One run of a sweep by itself, for job arrays: a command per run, and what such a command does.

Any number of them may play at the same time, each another run: nothing is written but the run's own folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fedstrata.assembly.shared import ALONE
from fedstrata.errors import ConfigError, nearest
from fedstrata.files import argument
from fedstrata.sweeping.changed_inputs import Present
from fedstrata.sweeping.jobs import Job, Sweep
from fedstrata.sweeping.play import play
from fedstrata.sweeping.run_status import Standing, clear, standing


def commands(sweep: Sweep, jobs: Sequence[Job], overrides: Sequence[str]) -> Iterator[str]:
    """Yield one command per run, which plays it from any folder of a machine that sees the same paths.

    Args:
        sweep: The sweep.
        jobs: The runs.
        overrides: Texts such as ``train.lr=0.1`` that the sweep was read with.
    """
    changed = [f"--set {argument(text)}" for text in overrides]
    where = f"--out {argument(sweep.output.absolute())}"
    for job in jobs:
        words = ["fedstrata sweep", argument(sweep.file.absolute()), "--run", argument(name_of(sweep, job))]
        yield " ".join([*words, where, *changed])


def name_of(sweep: Sweep, job: Job) -> str:
    """Return a run's name: its folder within the sweep's."""
    return job.folder.relative_to(sweep.output).as_posix()


def job_of(sweep: Sweep, name: str) -> Job:
    """Return the run of a name.

    Raises:
        ConfigError: The sweep has none.
    """
    jobs = {name_of(sweep, job): job for job in sweep.jobs}
    if name not in jobs:
        raise ConfigError(f"--run {name}: the sweep has no such run; {nearest(name, jobs)}")
    return jobs[name]


def play_single(
    sweep: Sweep,
    name: str,
    *,
    redo: bool = False,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[int], None] = lambda rounds: None,
) -> str:
    """Play one run of a sweep in this process, or go on with it, and return its state: ``finished`` or ``interrupted``.

    Args:
        sweep: The sweep.
        name: The run's folder within the sweep's.
        redo: Play it anew if its configuration, rows or model have changed.
        stop: Asked after each round; true ends the run early with everything saved.
        tell: Is told after each round how many are done.

    Raises:
        ConfigError: There is no such run, it was made with something else, or its folder is none of a run's.
        CheckpointError: Another process plays it.
        FedstrataError: It cannot be played.

    Example:
        See ``tests/sweeping/test_single.py``.
    """
    job = job_of(sweep, name)
    how, why = standing(job, Present())
    if how is Standing.FINISHED:
        return "finished"
    if how is Standing.FOREIGN or (how is Standing.CHANGED and not redo):
        advice = "" if how is Standing.FOREIGN else "; put back what has changed, or play it anew with --redo"
        raise ConfigError(f"{why}{advice}")
    if how is Standing.CHANGED:
        clear(job)
    return play(
        job.folder,
        config=job.config(),
        marks=job.marks,
        keep_model=sweep.keep_models,
        shared=ALONE,
        stop=stop,
        tell=tell,
    )
