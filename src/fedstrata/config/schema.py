"""The configuration's schema: plain sections here, components as tagged mappings checked by the catalog."""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fedstrata.config.flower import FlowerSection
from fedstrata.config.ray import RaySection
from fedstrata.domain.training import ANEW, Held, Probing, Rate, Training
from fedstrata.domain.units import amount
from fedstrata.errors import BudgetError
from fedstrata.models.form import Form, Head, Lora, Task
from fedstrata.parsing.section import Section, Whole
from fedstrata.server.rules import Rules


class AdapterSection(Section, Lora, frozen=True):
    """What is trained in the place of the layers' weights."""

    kind: Literal["lora"]


class ModelSection(Section, Form, frozen=True):
    """Which model is trained.

    Attributes:
        path: HF folder, ``module:function`` that returns a network, or ``embedded:vit-digits``.
        task: What it is trained for; found from the data's input column if left out.
        head: ``auto`` keeps the folder's head if it fits, ``new`` starts a new one, ``keep`` insists.
        adapter: A bare kind is short for one without options.
    """

    path: str
    task: Task | None = None
    head: Head = "auto"
    adapter: AdapterSection | None = None

    @field_validator("adapter", mode="before")
    @classmethod
    def _by_its_kind(cls, value: object) -> object:
        return {"kind": value} if isinstance(value, str) else value


class ProbeSection(Section, Probing, frozen=True):
    """How clients measure; ``batches: 0`` uses every row, ``piggyback`` measures for the next round while training."""

    piggyback: bool = False


class TrainSection(Section, Training, frozen=True):
    """How clients train; give ``steps`` or ``epochs``. ``always_lr: auto`` lets a new head learn faster than ``lr``."""

    rounds: Whole = Field(default=10, ge=1)
    always_lr: Rate | Literal["auto"] | None = "auto"
    lr_decay: Annotated[float, Field(gt=0, le=1), ANEW] = 1.0

    @model_validator(mode="after")
    def _one_length(self) -> TrainSection:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give 'steps' or 'epochs', not both")
        return self


class RoundSection(Section, Rules, frozen=True):
    """When a round counts, and what happens if it does not."""

    @field_validator("quorum")
    @classmethod
    def _a_number_or_a_share(cls, value: int | float) -> int | float:
        if isinstance(value, bool) or not (value >= 1 if isinstance(value, int) else 0 < value <= 1):
            raise ValueError(f"a quorum is a whole number of clients from 1, or a share above 0 up to 1.0; got {value}")
        return value


class UploadSection(Section, frozen=True):
    """How updates are sent, and how large they may be."""

    encoding: Literal["float32", "bf16", "fp16", "int8"] = "float32"
    max_norm: float = Field(default=1e6, gt=0, allow_inf_nan=False)


class EvaluateSection(Section, frozen=True):
    """When the global model is evaluated, and on whose rows."""

    every: Whole = Field(default=1, ge=1)
    batch_size: Whole = Field(default=256, ge=1)
    clients: Literal["all"] | Whole | float = "all"
    pooled: bool = True

    @field_validator("clients", mode="before")
    @classmethod
    def _all_a_number_or_a_share(cls, value: object) -> object:
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not (whole or value == "all" or (isinstance(value, float) and 0 < value <= 1)):
            raise ValueError(f"give all, a whole number of clients from 1, or a share above 0 up to 1.0; got {value}")
        return value


class CacheSection(Section, frozen=True):
    """How outputs of the layers below the lowest trained one are kept, to be used again.

    Attributes:
        memory: Bytes on this machine, such as ``2 GB``; ``auto`` is a quarter of what is free. It changes no bits.
        dtype: How training and probes keep them; ``fp32`` as they were computed, the others in half the bytes.
    """

    memory: int | Literal["auto"] = "auto"
    dtype: Held = "fp32"

    @field_validator("memory", mode="before")
    @classmethod
    def _as_people_write_it(cls, value: object) -> object:
        if value == "auto" or isinstance(value, bool) or not isinstance(value, int | float | str):
            return value
        try:
            found = amount("bytes_peak", value, "cache.memory")
        except BudgetError as error:
            raise ValueError(str(error)) from error
        if found.share or not isfinite(found.value):
            raise ValueError(f"cache.memory is a number of bytes such as 2 GB, or auto; got {value}")
        return int(found.value)


class CheckpointSection(Section, frozen=True):
    """When a checkpoint is written; the last two are kept."""

    every: Whole = Field(default=1, ge=1)


class Config(Section, frozen=True):
    """A whole run. Components are mappings with a ``kind``; a bare kind is short for one without options.

    Attributes:
        name: Name of the method in logs and reports; by default the selector's kind.
        output: The run folder, from the current folder; by default ``runs/<date>_<name>_s<seed>``.
        base: Folder that paths of models and data start from; by default the configuration's own.
        seed: All random draws of the run follow from it.
        devices: Device profile of every client, or a profile by client name with ``default`` for the others; files
            that ``fedstrata bench client`` writes, from the configuration's folder.
        cache: Whether layers that do not change are computed once, and how much is kept; ``on`` is the defaults.
        below_budget: What a client does whose budget pays for no layer: train ``head-only``, or be an ``error``.
        engine: Where clients execute: all in this process, side by side in worker ``processes``, in actors of a ``ray``
            cluster, at sites over ``flower``, or in a simulation of such sites.
        workers: Number of worker processes or actors; null is one per GPU, or on the CPU one per ``threads`` cores.
        threads: Threads of torch; part of the run's identity, since it changes the bits.
        device: ``auto`` takes a GPU where there is one.
        theory: Measure each round's error and its bound: ``exact``, with all rows of the clients whose updates counted,
            or ``sketch``, estimated from their probes.
        export: Which weights become ``model/``: the ``last`` round's, those of the ``best`` round on the clients'
            held-out rows, or ``both``, the best then in ``model-best/``.
    """

    name: str | None = None
    model: ModelSection
    data: dict[str, Any]
    score: dict[str, Any] | str = "gradient-norm"
    cost: dict[str, Any] | str = "measured"
    budget: dict[str, Any] | str | int | None = None
    sampler: dict[str, Any] | str = "uniform"
    selector: dict[str, Any] | str = "consensus"
    trainer: dict[str, Any] | str = "sgd"
    aggregator: dict[str, Any] | str = "layerwise-mean"
    devices: str | dict[str, str] | None = None
    below_budget: Literal["head-only", "error"] = "head-only"
    probe: ProbeSection = ProbeSection()
    train: TrainSection = TrainSection()
    round: RoundSection = RoundSection()
    upload: UploadSection = UploadSection()
    evaluate: EvaluateSection = EvaluateSection()
    checkpoint: CheckpointSection = CheckpointSection()
    cache: CacheSection | Literal["off"] = "off"
    engine: Literal["local", "processes", "ray", "flower", "flower-simulation"] = "local"
    workers: int | None = Field(default=None, ge=1)
    flower: FlowerSection = FlowerSection()
    ray: RaySection = RaySection()
    output: str | None = None
    base: str | None = None
    seed: int = Field(default=0, ge=0, lt=2**63)
    threads: int = Field(default=1, ge=1, le=4096)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    theory: Literal["off", "exact", "sketch"] = "off"
    export: Literal["last", "best", "both"] = "last"

    @field_validator("name")
    @classmethod
    def _part_of_a_file_name(cls, value: str | None) -> str | None:
        if value is not None and (
            not value.strip() or not value.isprintable() or set(value) & set("/\\") or len(value.encode()) > 200
        ):
            raise ValueError("a name is part of the run folder's: up to 200 bytes that print, without / and \\")
        return value

    @field_validator("cache", mode="before")
    @classmethod
    def _on_and_off_in_yaml(cls, value: object) -> object:
        return {} if value is True or value == "on" else "off" if value is False else value

    @field_validator("theory", mode="before")
    @classmethod
    def _off_in_yaml(cls, value: object) -> object:
        return "off" if value is False else value  # YAML reads a bare off as false

    @field_validator("theory")
    @classmethod
    def _with_rows_at_hand(cls, value: str, info: ValidationInfo) -> str:
        engine, probe = str(info.data.get("engine")), info.data.get("probe")
        if value == "sketch" and isinstance(probe, ProbeSection) and probe.piggyback:
            raise ValueError("piggybacked sketches are one aggregate old; set probe.piggyback: false, or theory: exact")
        if value == "exact" and engine.startswith("flower"):
            raise ValueError(
                f"engine: {engine} leaves the rows at the sites, and exact gradients need them here; set theory: sketch"
            )
        return value

    @field_validator("workers")
    @classmethod
    def _of_processes(cls, value: int | None, info: ValidationInfo) -> int | None:
        engine = info.data.get("engine", "processes")
        if value is not None and engine not in ("processes", "ray"):
            raise ValueError(f"engine: {engine} has no workers; set engine: processes or ray, or leave workers out")
        return value
