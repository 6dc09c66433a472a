"""A trial of a run: its rows shared out to sites on this machine, one per client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fedstrata.assembly.loading import load_rows
from fedstrata.assembly.provenance import resolved
from fedstrata.config.load import Loaded
from fedstrata.deploy.flower.trial import NAME, Trial, trial
from fedstrata.errors import ConfigError

MOST_SITES = 32
"""Sites of a trial, at most: each is three processes and a model of its own."""


@contextmanager
def trial_of(loaded: Loaded, tell: Callable[[str], None]) -> Iterator[tuple[list[str], Trial]]:
    """Start a SuperLink and a SuperNode per client of a run, and end them; nothing is left of them.

    Args:
        loaded: A run whose rows are on this machine.
        tell: Is told what is done.

    Yields:
        What the run's configuration has to be overridden with, and the trial.

    Raises:
        ConfigError: The rows are not here, or there are too many clients.
        TrainingError: Something does not start.
    """
    clients = tuple(load_rows(loaded).clients)
    if not clients:
        raise ConfigError("a trial shares out rows of this machine, and this configuration has none; give data files")
    if len(clients) > MOST_SITES:
        raise ConfigError(f"{len(clients)} clients are too many sites for one machine; try --sites 4")
    # no 'model': a site takes it as it does its rows, from the shared file, whose 'base' relative paths start from
    sites = {str(name): {"share": {"config": "../../run.yaml", "client": name}} for name in clients}
    with trial(sites, files={"run.yaml": resolved(loaded)}, tell=tell) as running:
        yield ["engine=flower", f"flower.sites={running.keys}", f"flower.superlink={NAME}"], running
