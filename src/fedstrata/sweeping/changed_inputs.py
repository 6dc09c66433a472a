"""What the runs of a sweep would be made of now: whether rows and model are still those that a run began with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from fedstrata.assembly.inputs import (
    data_files,
    differing,
    model_files,
    other_model,
    other_rows,
    read_inputs,
    rows_of,
)
from fedstrata.assembly.runtime import LoadRows
from fedstrata.config.load import Loaded, check_config
from fedstrata.domain.formatting import listing
from fedstrata.errors import CheckpointError, FedstrataError
from fedstrata.runs.folder import RunFolder
from fedstrata.sweeping.jobs import Job
from fedstrata.sweeping.rows import LatestRows


@dataclass(slots=True)
class Present:
    """Hashes files once for all runs that share them, and loads rows only where files of the data have changed.

    Attributes:
        rows: Loads them.

    Example:
        See ``tests/sweeping/test_sweep_inputs.py``.
    """

    rows: LoadRows = field(default_factory=LatestRows)
    _data: dict[str, dict[str, str]] = field(default_factory=dict)
    _model: dict[str, dict[str, str]] = field(default_factory=dict)

    def changed(self, job: Job) -> str | None:
        """Return in words what a run that has begun would not be made of any more, or ``None``.

        Weights of a network that a function makes are not compared: that takes the network.

        Raises:
            ConfigError: The model is not there.
            DataError: The rows are not there, or cannot be used.
        """
        try:
            then = read_inputs(RunFolder(job.folder))
        except CheckpointError as error:
            return str(error)
        files, model = self._hashed(job)
        other = other_model(then, model)
        if other is not None or files == then.data:
            return other
        train, test = rows_of(self.rows(_loaded(job)))  # a file that is only written anew has the same ones
        return other_rows(then, replace(then, data=files, train=train, test=test))

    def look(self, jobs: Iterable[Job]) -> None:
        """Hash the files of runs that are to begin; files that are not there fail the run, and not the look."""
        for job in jobs:
            with suppress(FedstrataError, OSError):
                self._hashed(job)

    def moved(self, job: Job) -> str | None:
        """Return in words which files had changed between the look and a run that has just finished, or ``None``."""
        data, model = self._data.get(_data_of(job)), self._model.get(_model_of(job))
        if data is None or model is None:
            return None
        try:
            then = read_inputs(RunFolder(job.folder))
        except CheckpointError as error:
            return str(error)
        named = [*differing(data, then.data), *differing(model, then.model)]
        if not named:
            return None
        return f"files changed while the sweep was played, so its runs may differ in them: {listing(named, limit=3)}"

    def _hashed(self, job: Job) -> tuple[dict[str, str], dict[str, str]]:
        """Return the hashes of a run's files of data and of its model."""
        data, model = _data_of(job), _model_of(job)
        if data not in self._data or model not in self._model:
            loaded = _loaded(job)
            if data not in self._data:
                self._data[data] = data_files(loaded)
            if model not in self._model:
                self._model[model] = model_files(loaded)
        return self._data[data], self._model[model]


def _loaded(job: Job) -> Loaded:
    return check_config(job.values, marks=job.marks)


def _model_of(job: Job) -> str:
    return json.dumps([job.values["base"], job.values["model"]["path"]])


def _data_of(job: Job) -> str:
    given = job.values["data"]
    return json.dumps([job.values["base"], *(given.get(key) for key in ("kind", "train", "sites", "test"))])
