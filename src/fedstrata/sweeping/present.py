"""What the runs of a sweep would be made of now: whether rows and model are still those that a run began with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from fedstrata.config.inputs import Inputs, data_files, model_files, other_model, other_rows, read_inputs, rows_of
from fedstrata.config.load import Loaded, check_config
from fedstrata.config.sweep import Job
from fedstrata.config.workplace import LoadRows
from fedstrata.errors import CheckpointError
from fedstrata.server.folder import RunFolder
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
        loaded = check_config(job.values, marks=job.marks)
        model, data = _model_of(job), _data_of(job)
        if model not in self._model:
            self._model[model] = model_files(loaded)
        if data not in self._data:
            self._data[data] = data_files(loaded)
        return other_model(then, self._model[model]) or self._other_rows(loaded, then, self._data[data])

    def _other_rows(self, loaded: Loaded, then: Inputs, files: dict[str, str]) -> str | None:
        """Compare rows where their files differ: one that is only written anew has the same ones."""
        if files == then.data:
            return None
        train, test = rows_of(self.rows(loaded))
        return other_rows(then, replace(then, data=files, train=train, test=test))


def _model_of(job: Job) -> str:
    return json.dumps([job.values["base"], job.values["model"]["path"]])


def _data_of(job: Job) -> str:
    given = job.values["data"]
    return json.dumps([job.values["base"], *(given.get(key) for key in ("kind", "train", "sites", "test"))])
