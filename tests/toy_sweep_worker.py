"""A worker of a sweep that plays nothing: it copies a run folder, or fails, dies or waits as the method's name says."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from fedstrata.interpreter import Message, receive, send


def main(pipe: Connection, _arguments: Sequence[str]) -> None:
    send(pipe, {"ready": True})
    while (task := receive(pipe)) is not None and "stop" not in task:
        send(pipe, {"rounds": 0})
        send(pipe, answer(pipe, task))


def answer(pipe: Connection, task: Message) -> Message:
    folder, config = Path(task["folder"]), task["config"]
    name = re.search(r"^name: (.*)$", config, re.MULTILINE)[1]  # type: ignore[index]
    begin(folder, config)
    if name == "fails":
        return {"failed": "no more rows"}
    if name == "has a bug":
        return {"failed": "ValueError: 3", "logged": True}
    if name == "dies" or (name == "dies once" and not (folder / "checkpoints").exists()):
        (folder / "checkpoints").mkdir(exist_ok=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "waits":
        receive(pipe)  # until it is told to stop
        return {"ended": "interrupted"}
    end(folder, seed=re.search(r"^seed: (.*)$", config, re.MULTILINE)[1])  # type: ignore[index]
    return {"ended": "finished"}


def begin(folder: Path, config: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.resolved.yaml").write_text(config)


def end(folder: Path, *, seed: str) -> None:
    for file in Path(os.environ["TOY_RUN"]).iterdir():
        if file.is_file() and file.name != "config.resolved.yaml":
            shutil.copy(file, folder)
    events = folder / "events.jsonl"
    events.write_text(events.read_text().replace('"seed": 7', f'"seed": {seed}', 1))
    (folder / "model").mkdir()
