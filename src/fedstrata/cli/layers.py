"""``fedstrata layers MODEL``: what a model's layers are called, how large they are, and what they cost."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedstrata.errors import ConfigError, ModelError, nearest

if TYPE_CHECKING:
    from fedstrata.domain.layers import Layer, LayerMap
    from fedstrata.domain.profile import StepProfile
    from fedstrata.models.fake import FakeModel
    from fedstrata.models.form import Lora, Task, Units
    from fedstrata.tables.table import Table

_TASKS = ("image-classification", "text-classification", "multiple-choice")
_UNITS = ("blocks", "halves")


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep Python from looking for reference cycles: a fifth of the time that a short command takes goes there."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


@uncollected()
def layers(
    model: Annotated[str, typer.Argument(help="Hugging Face folder (config.json is enough) or module:function.")],
    *,
    task: Annotated[str | None, typer.Option(help=f"{', '.join(_TASKS[:-1])} or {_TASKS[-1]}.")] = None,
    labels: Annotated[int | None, typer.Option(help="Number of labels; by default the folder's own.")] = None,
    select: Annotated[str | None, typer.Option(help="Mark the layers that this term names, e.g. 'last:2'.")] = None,
    blocks: Annotated[list[str] | None, typer.Option(help="Module path of a block or list of blocks.")] = None,
    units: Annotated[str, typer.Option(help="blocks, or halves: the attention and the MLP of each block.")] = "blocks",
    adapter: Annotated[str | None, typer.Option(help="lora: low-rank matrices in the place of the weights.")] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the adapter's matrices; 8 by default.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows of the batch that FLOPs are measured for.")] = 1,
    length: Annotated[int, typer.Option(min=1, help="Tokens per row.")] = 128,
    size: Annotated[int | None, typer.Option(min=1, help="Image height and width.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a model's layers: id, name, size, FLOPs, ties, role. No weights are read."""
    from fedstrata.models.model_path import is_custom, model_folder

    if not is_custom(model):
        model_folder(model, weights=False)  # before what takes seconds to import
    from fedstrata.domain.layer_language import parse_layers
    from fedstrata.models.fake import fake_model
    from fedstrata.models.form import Form

    where = None if blocks is None else "children" if blocks == ["children"] else tuple(blocks)
    network = fake_model(
        model,
        num_labels=labels,
        task=_task(task),
        form=Form(blocks=where, units=_units(units), adapter=_adapter(adapter, rank)),
    )
    chosen = parse_layers(select, network.layers) if select is not None else frozenset()
    profile, inputs, problem = _measure(network, rows=batch, length=length, size=size)
    table = describe(network.layers, profile, chosen)
    if as_json:
        typer.echo(json.dumps({"model": model, "inputs": inputs, "note": problem, **table}, indent=2))
    else:
        _show(model, table, inputs, problem, select)


def describe(found: LayerMap, profile: StepProfile | None, chosen: frozenset[int]) -> dict[str, Any]:
    """Return the table as JSON values: ``blocks`` (layers, then ``always``, then ``never``) and ``total``.

    Numbers of operations are ``None`` where they could not be measured.
    """
    rows = [_row(block, profile, index, selected=index in chosen) for index, block in enumerate(found.layers)]
    rows += [_row(block, profile, None, selected=False) for block in (*found.always, *found.never)]
    sums = ("parameters", "bytes", "buffers", "flops_forward", "flops_backward")
    known = {key: [row[key] for row in rows if row[key] is not None] for key in sums}
    total = {key: sum(values) if values else None for key, values in known.items()}
    return {"blocks": rows, "total": total, "selected": sorted(chosen)}


def _row(block: Layer, profile: StepProfile | None, index: int | None, *, selected: bool) -> dict[str, Any]:
    forward, carry, weight = _operations(block, profile)
    return {
        "id": index,
        "name": str(block.name),
        "role": str(block.role),
        "parameters": block.parameters,
        "bytes": block.bytes,
        "buffers": len(block.buffers),
        "flops_forward": forward,
        "flops_backward": None if carry is None or weight is None else carry + weight,
        "flops_activation_gradient": carry,
        "flops_weight_gradient": weight,
        "tied_with": [str(name) for name in block.tied_with],
        "selected": selected,
    }


def _operations(block: Layer, profile: StepProfile | None) -> tuple[int | None, int | None, int | None]:
    """Return forward, activation-gradient and weight-gradient operations when every layer is trained."""
    if profile is None or block.name not in profile.blocks:
        return None, None, None
    column = profile.blocks.index(block.name)
    return int(profile.forward[column]), int(profile.carry[0, column]), int(profile.weight[column])


def _task(task: str | None) -> Task | None:
    if task is not None and task not in _TASKS:
        raise ConfigError(f"--task '{task}' is unknown; {nearest(task, _TASKS)}")
    return task  # type: ignore[return-value]


def _units(units: str) -> Units:
    if units not in _UNITS:
        raise ConfigError(f"--units '{units}' is unknown; {nearest(units, _UNITS)}")
    return units  # type: ignore[return-value]


def _adapter(kind: str | None, rank: int | None) -> Lora | None:
    from fedstrata.models.form import Lora

    if kind not in (None, "lora"):
        raise ConfigError(f"--adapter '{kind}' is unknown; {nearest(str(kind), ['lora'])}")
    if kind is None and rank is not None:
        raise ConfigError("--rank is the rank of an adapter; add --adapter lora")
    return None if kind is None else Lora() if rank is None else Lora(rank=rank)


def _measure(
    network: FakeModel, *, rows: int, length: int, size: int | None
) -> tuple[StepProfile | None, dict[str, list[int]], str | None]:
    """Return the measured step, the shapes that it is for, and why there is none."""
    from fedstrata.models.fake import fake_batch
    from fedstrata.models.profiling.step import measure_model

    try:
        profile = measure_model(network, rows=rows, length=length, size=size)
    except ModelError as error:
        return None, {}, str(error)
    batch = fake_batch(network.model, rows=rows, length=length, size=size)
    return profile, {name: list(tensor.shape) for name, tensor in batch.items() if name != "attention_mask"}, None


def _show(
    model: str, table: dict[str, Any], inputs: dict[str, list[int]], note: str | None, select: str | None
) -> None:
    from fedstrata.cli.terminal import output, say
    from fedstrata.tables.terminal import Terminal

    console = output()
    console.print(Terminal(_view(model, table)))
    for line in ("", *_notes(table, inputs, note, select)):
        say(console, line)


def _view(model: str, table: dict[str, Any]) -> Table:
    """Return the table for people; ties have a column only where there are some."""
    from fedstrata.tables.table import Table

    blocks, end = table["blocks"], len(table["blocks"])
    ties = any(row["tied_with"] for row in blocks)
    rows = tuple(
        (
            f"{'> ' if row['selected'] else ''}{'' if row['id'] is None else row['id']}",
            row["name"],
            row["role"],
            *(_number(key, row[key]) for key in _HEADINGS),
            *([", ".join(row["tied_with"]) or "-"] if ties else []),
        )
        for row in blocks
    )
    total = ("", "total", "", *(_number(key, table["total"][key]) for key in _HEADINGS), *([""] if ties else []))
    return Table(
        model,
        ("# id", "name", "role", *(f"# {title}" for title in _HEADINGS.values()), *(["tied with"] if ties else [])),
        (*rows, total),
        strong=frozenset({end, *(i for i, row in enumerate(blocks) if row["selected"])}),
        faint=frozenset(i for i, row in enumerate(blocks) if row["role"] != "layer"),
        ruled=frozenset({end, *(i for i in range(1, end) if blocks[i]["role"] != blocks[i - 1]["role"])}),
        labels=2,
    )


_HEADINGS = {
    "parameters": "parameters",
    "bytes": "bytes",
    "flops_forward": "FLOPs forward",
    "flops_backward": "FLOPs backward",
}


def _notes(table: dict[str, Any], inputs: dict[str, list[int]], note: str | None, select: str | None) -> list[str]:
    shapes = ", ".join(f"{name} {shape}" for name, shape in inputs.items())
    lines = (
        [f"FLOPs measured for {shapes}; backward = gradient of inputs and of weights, if all layers train."]
        if shapes
        else []
    )
    if note:
        lines.append(f"Not measured (-): {note}")
    if table["total"]["buffers"]:
        lines.append(f"{table['total']['buffers']} buffers (running statistics, position tables) stay as they are.")
    if select is not None:
        ids = ", ".join(str(i) for i in table["selected"]) or "no layer"
        lines.append(f"'{select}' selects {ids}.")
    return lines


def _number(key: str, value: int | None) -> str:
    from fedstrata.domain.units import scaled

    if value is None:
        return "-"
    return f"{value:,}" if key == "parameters" else f"{scaled(value, digits=1)}{'B' * (key == 'bytes')}".rstrip()
