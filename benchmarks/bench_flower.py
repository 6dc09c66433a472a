"""What an exchange over Flower costs beyond Flower's own floor: two sites on loopback with TLS, medians in one run.

floor          an app that answers at once, asked with Flower's own send_and_receive (which looks every 3 s)
polled         the same app, looked at four times a second, as our engine does
ours           a run of fedstrata: the exchange as the server sees it, the client's own work, what is left
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from statistics import median

from fedstrata.cli.over_flower import play_over_flower
from fedstrata.config.load import load_config
from fedstrata.deploy.flower.app import write_app
from fedstrata.deploy.flower.services import Home, flwr
from fedstrata.deploy.flower.trial import NAME
from fedstrata.deploy.flower.trial_run import trial_of

CONFIG = """
model: {path: "embedded:vit-digits"}
data: {kind: digits, partition: {kind: iid, clients: 2}}
budget: 2
train: {rounds: 6, steps: 5, optimizer: sgd, lr: 0.005}
evaluate: {every: 6}
"""
TIMES = 6
ECHO_SERVER = f"""
import time
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()


def messages(grid):
    record = RecordDict({{"x": ConfigRecord({{"x": b"x" * 3000}})}})
    return [Message(record, number, "query.join") for number in grid.get_node_ids()]


@app.main()
def main(grid, context):
    for _ in range({TIMES}):
        start = time.monotonic()
        list(grid.send_and_receive(messages(grid)))
        print("ECHO", "floor", time.monotonic() - start, flush=True)
    for _ in range({TIMES}):
        start, left = time.monotonic(), set(grid.push_messages(messages(grid)))
        while left:
            left -= {{m.metadata.reply_to_message_id for m in grid.pull_messages(left)}}
            time.sleep(0.25)
        print("ECHO", "polled", time.monotonic() - start, flush=True)
"""
ECHO_CLIENT = """
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query("join")
def answer(message, context):
    return Message(RecordDict({"x": ConfigRecord({"x": b"x"})}), reply_to=message)
"""


def echo(home: Home, folder: Path) -> dict[str, list[float]]:
    """Time an app that does nothing; the first exchange of each kind is left out."""
    write_app(folder, {}, name="echo")
    (folder / "fedstrata_app" / "server.py").write_text(ECHO_SERVER)
    (folder / "fedstrata_app" / "client.py").write_text(ECHO_CLIENT)
    said = flwr(["run", str(folder), NAME, "--stream"], home=home, timeout=300)
    found: dict[str, list[float]] = {"floor": [], "polled": []}
    for line in said.splitlines():
        if line.startswith("ECHO"):
            _, kind, seconds = line.split()
            found[kind].append(float(seconds))
    return {kind: times[1:] for kind, times in found.items()}


def rounds(run: Path) -> tuple[list[float], list[float]]:
    """Return per phase and round the time of the slowest site, and its own work."""
    slowest: dict[tuple[str, int], tuple[float, float]] = {}
    for line in (run / "wire.jsonl").read_text().splitlines():
        e = json.loads(line)
        if e["phase"] in ("probe", "train") and e["round"] > 1:
            key = (e["phase"], e["round"])
            slowest[key] = max(slowest.get(key, (0.0, 0.0)), (e["seconds"], e["seconds_work"]))
    return [seconds for seconds, _ in slowest.values()], [work for _, work in slowest.values()]


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="fedstrata-bench-"))
    os.chdir(folder)
    Path("run.yaml").write_text(CONFIG)
    with trial_of(load_config(Path("run.yaml"), ["engine=local"]), print) as (overrides, home):
        times = echo(home, folder / "echo")
        for name, piggyback in (("two", "false"), ("piggybacking", "true")):
            over = load_config(Path("run.yaml"), [*overrides, f"output={name}", f"probe.piggyback={piggyback}"])
            assert play_over_flower(over, resume=None, quiet=True, as_json=False, home=home) == 0
    print(f"\n{os.cpu_count()} cores; seconds per exchange, median [least, most]")
    for kind, values in times.items():
        print(f"  {kind:22} {median(values):6.2f} [{min(values):.2f}, {max(values):.2f}]")
    for name in ("two", "piggybacking"):
        seconds, work = rounds(folder / name)
        left = [s - w for s, w in zip(seconds, work, strict=True)]
        print(f"  ours, {name:16} {median(seconds):6.2f} [{min(seconds):.2f}, {max(seconds):.2f}]", end="")
        over = median(left) - median(times["polled"])
        print(f"  work {median(work):.2f}, left {median(left):.2f}, over polled {over:+.2f}")
        events = [json.loads(line) for line in (folder / name / "events.jsonl").read_text().splitlines()]
        walls = [e["seconds"] for e in events if e["event"] == "round"][1:]
        print(f"  round, {name:15} {median(walls):6.2f} [{min(walls):.2f}, {max(walls):.2f}]")


if __name__ == "__main__":
    main()
