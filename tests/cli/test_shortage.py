"""Memory that has run out: one sentence and the code of a run that cannot go on, whoever says it in which way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from commands import Said
from fedstrata.cli.reach import out_of_memory

WAYS: list[Exception] = [
    MemoryError(),
    OSError(12, "Cannot allocate memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ImportError("libx.so: failed to map segment from shared object"),
]


def caused(cause: Exception) -> Exception:
    try:
        raise ValueError("the table cannot be made") from cause
    except ValueError as error:
        return error


@pytest.mark.parametrize("error", [*WAYS, *map(caused, WAYS)], ids=repr)
def test_it_is_said_in_one_sentence_with_code_4(
    error: Exception, cli: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise error

    monkeypatch.setattr("fedstrata.config.load.load_config", load)
    said = cli("run", "c.yaml")
    assert said.code == 4
    assert said.err.startswith("fedstrata: memory has run out; take smaller batches, fewer workers or a smaller model")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shapes"), OSError(28, "full")], ids=repr)
def test_other_errors_are_no_shortage(error: Exception) -> None:
    assert not out_of_memory(error)
