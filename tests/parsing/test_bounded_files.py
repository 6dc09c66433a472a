"""Files that may be anything: as much as is allowed, and never a wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedstrata.parsing.bounded_files import UnreadableError, read_bytes, read_text


def test_a_file_within_its_bound_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("caf\u00e9", encoding="utf-8")
    assert read_text(file, most=5) == "caf\u00e9"
    assert read_bytes(file) == b"caf\xc3\xa9"


@pytest.mark.parametrize(
    ("data", "sentence"), [(b"x" * 9, "it is larger than 7.62939e-06 MiB"), (b"\xff", "it is not a text in UTF-8")]
)
def test_what_is_no_such_text_is_said(tmp_path: Path, data: bytes, sentence: str) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(UnreadableError) as caught:
        read_text(tmp_path / "a", most=8)
    assert str(caught.value) == sentence


def test_a_pipe_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableError, match="it is not a plain file"):
        read_text(tmp_path / "pipe", most=8)


def test_a_pipe_is_read_where_pipes_are_welcome() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"lr: 1")
    os.close(writer)
    try:
        assert read_text(Path(f"/dev/fd/{reader}"), most=8, pipes=True) == "lr: 1"
    finally:
        os.close(reader)


@pytest.mark.parametrize("name", [".", "missing"])
def test_what_cannot_be_opened_or_read_is_an_error_of_the_system(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError):
        read_bytes(tmp_path / name)
