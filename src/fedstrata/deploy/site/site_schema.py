"""The keys of a site's own file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from fedstrata.data.read_options import FileTerms, odd_input
from fedstrata.domain.training import Precision
from fedstrata.models.form import Head, Units
from fedstrata.parsing.section import LayerTerms, Positive, Section, Whole


class RowsSection(Section, FileTerms, frozen=True):
    """The site's own rows.

    Attributes:
        train: File, glob, or image folder.
    """

    train: str

    @model_validator(mode="after")
    def _one_input(self) -> RowsSection:
        if reason := odd_input(self):
            raise ValueError(reason)
        return self


class ShareSection(Section, frozen=True):
    """The rows that a client has in a run's configuration: for trials on one machine.

    Attributes:
        config: Path of the configuration.
        client: Name of the client.
    """

    config: str
    client: str


class LimitsSection(Section, frozen=True):
    """What the site will not do, whatever a server asks.

    Attributes:
        refuse: Layers that it neither trains nor tells anything of, in the layer language.
        scores: Whether gradient statistics may leave.
        sketches: Whether sketches of gradients may leave, which tell more than norms; never where ``scores`` is false.
        evaluate: Whether loss and accuracy over its held-out rows may leave.
        min_rows: Rows that each local step, a probe and an evaluation are computed from, at least; above 1 the site's
            rows are only used in fixed groups of so many.
        rounds: Updates that it sends, at most, whatever runs they belong to; null sets no limit.
        probes: Answers to probes that it sends, at most, those piggybacked on updates among them.
        evaluations: Answers to evaluations that it sends, at most.
        steps: Local steps of one update, at most.
        lr: Learning rate, at most.
        threads: Threads of torch, at most; null is as many as the machine has cores.
        seconds: Time that one piece of work may take.
    """

    refuse: LayerTerms = ()
    scores: bool = True
    sketches: bool = False
    evaluate: bool = True
    min_rows: Whole = Field(default=1, ge=1)
    rounds: Whole | None = Field(default=None, ge=0)
    probes: Whole | None = Field(default=None, ge=0)
    evaluations: Whole | None = Field(default=None, ge=0)
    steps: Whole = Field(default=100_000, ge=1)
    lr: Positive = 10.0
    threads: Whole | None = Field(default=None, ge=1)
    seconds: float = Field(default=36_000.0, gt=0, le=1e9)  # thirty years: no timer goes much further


class PinSection(Section, frozen=True):
    """Keys of a run that the site's file fixes: a run that says something else is refused. What is left out, runs say.

    Attributes:
        labels: Names of the labels, by index.
        head: Whether the model's head is kept.
        candidates: Layers that may be selected.
        always: Blocks that everyone trains, beyond the default.
        never: Blocks that stay frozen, beyond the default.
        blocks: Where the model's blocks are; ``limits.refuse`` counts those.
        units: Whether a layer is a block, or half of one.
        adapter: The kind of what is trained in the place of the layers' weights.
        held_out: Share of the site's rows that is evaluated on.
        max_length: Longer texts are cut to this many tokens.
        image_size: Height and width in pixels for a model that does not name its own.
        precision: Of training.
        seed: The run's seed.
    """

    labels: list[str] | None = None
    head: Head | None = None
    candidates: LayerTerms | None = None
    always: LayerTerms | None = None
    never: LayerTerms | None = None
    blocks: str | list[str] | None = None
    units: Units | None = None
    adapter: Literal["lora"] | None = None
    held_out: float | None = Field(default=None, ge=0, lt=1)
    max_length: Whole | None = Field(default=None, ge=1)
    image_size: Whole | None = Field(default=None, ge=1)
    precision: Precision | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**63)


@dataclass(frozen=True, kw_only=True)
class SiteTerms:
    """What a site's file says, and what is used as it stands there.

    Attributes:
        data: Its own rows; exclusive with ``share``.
        share: The rows of a client in a run's configuration.
        model: Folder of the base model; null takes only a model that the share's configuration names or that comes
            with fedstrata, ``server`` whatever folder of this machine the server names.
        device: Where it computes.
        limits: What it will not do.
        pin: Keys of a run that it fixes.
        idle: Seconds without work after which its worker ends.
    """

    data: RowsSection | None = None
    share: ShareSection | None = None
    model: str | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    limits: LimitsSection = LimitsSection()  # noqa: RUF009  a value
    pin: PinSection = PinSection()  # noqa: RUF009  a value
    idle: Positive = 900.0


class SiteSection(Section, SiteTerms, frozen=True):
    """A site's own file. Paths start from its folder.

    Attributes:
        name: Name in the site's own log; null takes the name of the file's folder.
        budget: What it can pay per round, by unit.
        state: Folder of its log and its layer cache.
        cache_bytes: Most bytes of the layer cache.
        client_state_bytes: Most bytes of what trainers keep here between rounds, of all runs together.
    """

    name: str | None = None
    budget: dict[str, int | float | str] = Field(default_factory=dict)
    state: str = "state"
    cache_bytes: int | str = "4 GB"
    client_state_bytes: int | str = "4 GB"

    @model_validator(mode="after")
    def _one_source(self) -> SiteSection:
        if (self.data is None) == (self.share is None):
            raise ValueError("give the site's rows: either 'data' or 'share'")
        return self


SECTIONS: dict[str, type[Section]] = {
    "data": RowsSection,
    "share": ShareSection,
    "limits": LimitsSection,
    "pin": PinSection,
}
"""Sections inside a site's file."""
