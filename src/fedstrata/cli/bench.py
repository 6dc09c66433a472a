"""``fedstrata bench client``: measure this machine and write its device profile."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedstrata.cli.options import Set
from fedstrata.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from rich.console import Console

    from fedstrata.cli.bench_cases import Bench
    from fedstrata.client.speed import Case, Rates
    from fedstrata.config.load import Loaded
    from fedstrata.domain.device import DeviceProfile

_BUSY = 0.85
"""Share of the time that timing runs on an idle machine, at the least."""

bench = typer.Typer(name="bench", help="Measure this machine.", no_args_is_help=True)


@bench.callback()
def verbs() -> None:
    """Measure this machine."""


@bench.command()
def client(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file whose model and batches to time; else a small ViT.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Where to write the profile.")] = Path("device.yaml"),
    set: Set = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Torch's threads; else the configuration's, or 1.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; else the configuration's, or cpu.")] = None,
    upload: Annotated[str | None, typer.Option(help="Bytes per second to the server, such as 5MB.")] = None,
    download: Annotated[str | None, typer.Option(help="Bytes per second from the server.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory to train in, such as 8GiB; else what is free.")] = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long to time.")] = 20.0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time a client's own work on this machine and write its device profile, for 'devices' of a configuration."""
    if out.exists() and not force:
        raise ConfigError(f"{out} exists; choose another file with --out, or overwrite it with --force")
    limits = {
        "upload": _bytes(upload, "--upload"),
        "download": _bytes(download, "--download"),
        "memory": _bytes(memory, "--memory"),
    }
    import torch
    from rich.console import Console

    from fedstrata.cli.bench_cases import bench_of, cases
    from fedstrata.cli.terminal import say
    from fedstrata.client.speed import fit

    loaded = _load(config, set or [])
    place = _device(device, loaded)
    torch.set_num_threads(threads or (loaded.config.threads if loaded else 1))
    what = bench_of(loaded, place)
    timed = cases(what)
    console = Console(stderr=True, highlight=False)
    begin = perf_counter(), process_time()
    times = _timed(timed, seconds=seconds, console=console)
    share = (process_time() - begin[1]) / (perf_counter() - begin[0])
    rates = fit([case.work for case in timed], times)
    warnings = [*_poor(timed, times, rates), *(_busy(share) if place.type == "cpu" else [])]
    profile = profile_of(rates, place, limits)
    write_profile(out, profile, [*_heading(what, timed, times, rates), *warnings])
    _say(out, what, timed, times, rates, profile, as_json=as_json)
    for line in warnings:
        say(console, line)


def _bytes(written: str | None, option: str) -> float | None:
    from fedstrata.domain.units import amount

    if written is None:
        return None
    found = amount("bytes_up", written, option)
    if found.share or found.value <= 0:
        raise ConfigError(f"{option} is '{written}'; write a number of bytes above 0, such as 5MB or 8GiB")
    return found.value


def _load(config: Path | None, overrides: list[str]) -> Loaded | None:
    from fedstrata.config.load import load_config

    if config is not None:
        return load_config(config, overrides)
    if overrides:
        raise ConfigError("--set overrides values of a configuration, and none is given; name a YAML file")
    return None


def _device(asked: str | None, loaded: Loaded | None) -> torch.device:
    import torch

    known = ("cpu", "cuda")
    if asked is not None and asked not in known:
        raise ConfigError(f"--device '{asked}' is unknown; {nearest(asked, known)}")
    wanted = asked or (loaded.config.device if loaded else "cpu")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("cuda is asked for, and torch finds none on this machine; use --device cpu")
    return torch.device(wanted)


def _timed(cases: Sequence[Case], *, seconds: float, console: Console) -> tuple[float, ...]:
    """Time the cases; progress with an ETA on a terminal, one line elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from fedstrata.client.speed import time_cases

    if not console.is_terminal:
        console.print(f"timing {len(cases)} kinds of work for about {seconds:g} s")
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("timing", total=None)

        def watch(name: str, *, done: int, total: int) -> None:
            progress.update(task, description=name, completed=done, total=total)

        return time_cases(cases, seconds=seconds, watch=watch)


def profile_of(rates: Rates, place: torch.device, limits: Mapping[str, float | None] | None = None) -> DeviceProfile:
    """Return the profile of this machine; memory is what is free unless it is given."""
    from dataclasses import asdict

    from fedstrata.domain.device import DeviceProfile

    given = limits or {}
    return DeviceProfile(
        **{name: float(f"{value:.4g}") for name, value in asdict(rates).items()},
        upload=given.get("upload"),
        download=given.get("download"),
        memory=float(_free(place)) if given.get("memory") is None else given["memory"],
        name=_machine(place),
    )


def _free(place: torch.device) -> int:
    import psutil
    import torch

    if place.type == "cuda":
        return int(torch.cuda.mem_get_info(place)[0])
    return int(psutil.virtual_memory().available)


def _machine(place: torch.device) -> str:
    import platform

    import torch

    from fedstrata.domain.formatting import plural

    if place.type == "cuda":
        return str(torch.cuda.get_device_name(place))
    return f"{platform.machine()} CPU, {plural(torch.get_num_threads(), 'thread')}"


def _ratios(cases: Sequence[Case], times: Sequence[float], rates: Rates) -> list[float]:
    return [rates.seconds(case.work) / time for case, time in zip(cases, times, strict=True)]


def _quality(cases: Sequence[Case], times: Sequence[float], rates: Rates) -> str:
    ratios = _ratios(cases, times, rates)
    return f"predicted/measured from {min(ratios):.2f} to {max(ratios):.2f} over {len(ratios)} kinds of work"


def _poor(cases: Sequence[Case], times: Sequence[float], rates: Rates) -> list[str]:
    from fedstrata.client.speed import POOR

    ratios = _ratios(cases, times, rates)
    worst = max(range(len(ratios)), key=lambda i: abs(ratios[i] - 1))
    if abs(ratios[worst] - 1) <= POOR:
        return []
    return [
        f"warning: the fit is poor: '{cases[worst].name}' took {times[worst]:.3g} s and is predicted to take"
        f" {ratios[worst] * times[worst]:.3g} s; measure longer with --seconds, while nothing else runs"
    ]


def _busy(share: float) -> list[str]:
    """Return a warning if this process got less of its cores than it could have used."""
    if share >= _BUSY:
        return []
    return [
        f"warning: the machine was busy: while timing, this process ran {share:.0%} of the time; rates are those of a"
        " busy machine, measure again while nothing else runs"
    ]


def _heading(what: Bench, cases: Sequence[Case], times: Sequence[float], rates: Rates) -> list[str]:
    from datetime import date

    import torch

    return [
        "Device profile, measured by 'fedstrata bench client'; name it under 'devices' in a configuration.",
        f"model {what.name}; batch {what.shape}; optimizer {what.plan.optimizer}, precision {what.plan.precision}",
        f"torch {torch.__version__}, threads {torch.get_num_threads()}, {date.today():%Y-%m-%d}",
        _quality(cases, times, rates),
        "forward, carry, weight: FLOP/s; update, upload, download: bytes/s; step, visit: seconds; memory: bytes",
    ]


def write_profile(out: Path, profile: DeviceProfile, heading: Sequence[str]) -> None:
    """Write a profile as YAML, with what has to be said of it on top.

    Raises:
        ConfigError: The file cannot be written.
    """
    from dataclasses import asdict

    import yaml

    from fedstrata.files import write_atomic, writing

    values = {name: value for name, value in asdict(profile).items() if value is not None}
    text = "".join(f"# {line}\n" for line in heading) + yaml.safe_dump(values, sort_keys=False)
    with writing(out, "choose another file with --out", refused=ConfigError):
        write_atomic(out, text, shared=True)


def _say(
    out: Path,
    what: Bench,
    cases: Sequence[Case],
    times: Sequence[float],
    rates: Rates,
    profile: DeviceProfile,
    *,
    as_json: bool,
) -> None:
    import json
    from dataclasses import asdict

    rows: list[dict[str, Any]] = [
        {"work": case.name, "seconds": time, "predicted": ratio * time, "ratio": ratio}
        for case, time, ratio in zip(cases, times, _ratios(cases, times, rates), strict=True)
    ]
    if as_json:
        batch = {"model": what.name, "batch": what.shape}
        typer.echo(json.dumps({"file": str(out), **batch, "profile": asdict(profile), "timed": rows}, indent=2))
        return
    from fedstrata.cli.terminal import output, say
    from fedstrata.tables.table import Table
    from fedstrata.tables.terminal import Terminal

    console = output()
    say(console, f"{what.name}; batch {what.shape}; {profile.name}")
    cells = tuple(
        (row["work"], f"{row['seconds']:.4f} s", f"{row['predicted']:.4f} s", f"{row['ratio']:.2f}") for row in rows
    )
    console.print(Terminal(Table("", ("work", "# measured", "# predicted", "# ratio"), cells)))
    say(console, _quality(cases, times, rates))
    say(
        console,
        f"forward {profile.forward / 1e9:.3g}, carry {profile.carry / 1e9:.3g}, weight {profile.weight / 1e9:.3g}"
        f" GFLOP/s; update {profile.update / 1e9:.3g} GB/s; {profile.step * 1e3:.3g} ms per step,"
        f" {profile.visit * 1e3:.3g} ms per request",
    )
    say(console, f"profile: {out}   (name it under 'devices' in a configuration)")
