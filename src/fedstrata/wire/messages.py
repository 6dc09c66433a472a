"""What server and clients say to each other: requests and replies, keyed by a stable client name.

A field stands here once. How a message is written (``manifest.py``, ``requests.py``), the range that a client's number
has to lie in (``admission.py``) and what counts as a reply's content (``digests.py``) follow from its type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PlainSerializer

from fedstrata.domain.count_sketch import Hashing
from fedstrata.domain.ids import ClientId, TensorName
from fedstrata.domain.layers import Mask
from fedstrata.domain.prefix_use import PrefixState
from fedstrata.domain.reasons import Reason
from fedstrata.domain.stats import LayerStats, Statistic
from fedstrata.domain.training import ANEW, MOST_RATE, Held, Passes, Probing, Training, Within, keys_of
from fedstrata.wire.sizes import Encoding

if TYPE_CHECKING:
    from torch import Tensor

    Weights = Mapping[TensorName, Tensor]
    """Trainable tensors by state-dict key; shared by reference, never changed in place."""
else:
    Weights = Mapping


Ascending = PlainSerializer(sorted)
"""Marks a set: it is written as a list in ascending order."""
Apart: Any = Field(exclude=True, default_factory=dict)
"""Marks tensors: they travel beside what is said."""
MOST_ROWS = 2**40
"""No client has more rows than this; a declaration of more is a mistake or a lie."""
MOST_LOSS = 1e9
"""Mean loss per row, at most: with float32 logits that have not overflowed by far, and rows that are all wrong."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The range of a number that a client claims; the ends count.

    Attributes:
        least: What it is at least.
        most: What it is at most.
        what: Says so, with braces where the number stands.
        counts: Whether it is content; what is only reported, such as the time of the work, is not.
    """

    least: float
    most: float
    what: str
    counts: bool = True


Steps = Annotated[int, Claim(1, 10**12, "the update claims {} steps")]
Rows = Annotated[int, Claim(1, MOST_ROWS, "the update claims {} training rows")]
TrainingLoss = Annotated[float, Claim(0, MOST_LOSS, "the training loss is {}")]
Seconds = Annotated[float, Claim(0, 1e9, "its work took {} seconds", counts=False)]
Reported = Annotated[int, Claim(0, 2**60, "its prefix cache counts {}", counts=False)]
Peak = Annotated[int | None, Claim(0, 2**60, "its work held {} bytes of memory", counts=False)]

StateVersion = tuple[int, int]
"""Which piece of training left a client's state as it is: rounds done before it, and attempt."""
PhaseName = Literal["probe", "train", "evaluate"]
"""What a client is asked to do."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message belongs; a reply repeats the origin of its request.

    Attributes:
        run: Name of the run.
        attempt: 0-based: how often the round was abandoned before.
        base: Digest of the global weights that the work starts from.
    """

    run: str = ""
    attempt: int = 0
    base: str = ""


NOWHERE = Origin()
"""The origin of messages outside any run: in tests and benchmarks."""


@dataclass(frozen=True)
class ProbePlan(Probing):
    """How a client measures its gradient statistics: the keys of ``Probing``, and what is measured.

    Attributes:
        statistics: What the score needs.
        sketch: Which sketch of each layer's mean gradient to send besides; ``None`` for none.
        prefix: How outputs of the frozen prefix are kept to be used again; ``None`` for not at all.
    """

    statistics: Annotated[frozenset[Statistic], Ascending] = frozenset({Statistic.NORM})
    sketch: Hashing | None = None
    prefix: Held | None = None


Decayed = Annotated[float, Within(0, MOST_RATE), ANEW]
"""A learning rate of one round, which may have become 0."""


@dataclass(frozen=True)
class TrainPlan(Training):
    """How a client trains in one round: the keys of ``Training``, with the rates already decayed, and by default SGD.

    Attributes:
        always_lr: Learning rate of the blocks that everyone trains, likewise decayed; ``None`` is ``lr``.
        encoding: How the deltas are sent.
        prefix: How outputs of the frozen prefix are kept to be used again; ``None`` for not at all.
    """

    epochs: Passes | None = 1
    optimizer: Literal["sgd", "momentum", "adamw"] = "sgd"
    lr: Decayed = 0.01
    always_lr: Decayed | None = None
    encoding: Encoding = Encoding.FLOAT32
    prefix: Held | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask a client for its gradient statistics at these weights."""

    client: ClientId
    round: int
    weights: Annotated[Weights, Apart]
    plan: ProbePlan
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Train:
    """Ask a client to train its mask, starting from these weights.

    Attributes:
        probe: What to measure at these weights besides, for the next round's selection; ``None`` for nothing.
        states: Versions of the client's state that may be needed, the one to begin with first; none for a client whose
            training never counted. ``None`` where clients keep no state. The state itself never travels.
    """

    client: ClientId
    round: int
    weights: Annotated[Weights, Apart]
    mask: Annotated[Mask, Ascending]
    plan: TrainPlan
    origin: Origin = NOWHERE
    probe: ProbePlan | None = None
    states: tuple[StateVersion, ...] | None = None


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Ask a client to evaluate these weights on its held-out rows.

    Attributes:
        together: The clients whose held-out rows share forward passes, this one among them, in the order of the rows;
            none where it is evaluated alone, as at its own site.
    """

    client: ClientId
    round: int
    weights: Annotated[Weights, Apart]
    origin: Origin = NOWHERE
    together: tuple[ClientId, ...] = ()


Request = Probe | Train | Evaluate


@dataclass(frozen=True, slots=True)
class Probed:
    """A client's gradient statistics.

    Attributes:
        stats: One entry per selectable layer, input to output.
        loss: Mean loss over the probed rows.
        seconds: Time the client spent.
        peak_bytes: Largest memory that the work held, the model included; ``None`` where it cannot be told.
    """

    client: ClientId
    round: int
    stats: tuple[LayerStats, ...]
    loss: Annotated[float, Claim(0, MOST_LOSS, "the probe's loss is {}")]
    seconds: Seconds
    peak_bytes: Peak = None
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Update:
    """What a client trained: deltas of exactly its mask and ``always``.

    Attributes:
        mask: The mask that was trained.
        deltas: ``local - global`` per tensor, float32.
        num_examples: Training rows of the client: its weight in the aggregate.
        steps: Optimizer steps taken.
        loss_first: Loss of the first step's batch, before that step.
        loss_mean: Mean over the steps.
        seconds: Time the client spent.
        peak_bytes: Largest memory that the work held, the model included; ``None`` where it cannot be told.
        piggybacked: The statistics that are sent with it, with times and memory of their own, if they were asked for.
            They are of this round's weights, over the rows that the next round's probe draws.
        prefix: How it came by the outputs of the frozen layers below its mask.
        prefix_read: Rows that it had them at hand for, counted at each use.
        prefix_computed: Rows that it computed them for.
        prefix_bytes: Bytes of all that were at hand at its end.
    """

    client: ClientId
    round: int
    mask: Annotated[Mask, Ascending]
    deltas: Annotated[Weights, Apart]
    num_examples: Rows
    steps: Steps
    loss_first: TrainingLoss
    loss_mean: TrainingLoss
    seconds: Seconds
    peak_bytes: Peak = None
    origin: Origin = NOWHERE
    piggybacked: Probed | None = None
    prefix: PrefixState = PrefixState.OFF
    prefix_read: Reported = 0
    prefix_computed: Reported = 0
    prefix_bytes: Reported = 0


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Sums over a client's held-out rows; sums of different clients add up.

    Attributes:
        loss_sum: Sum of the rows' losses.
        correct: Number of rows classified correctly.
        num_examples: Number of rows.
    """

    client: ClientId
    round: int
    loss_sum: float
    correct: int
    num_examples: int
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Failure:
    """A client that did not do what was asked; the round goes on without it.

    Attributes:
        phase: ``probe``, ``train`` or ``evaluate``.
        message: One sentence for people.
    """

    client: ClientId
    round: int
    phase: PhaseName
    reason: Reason
    message: str
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Frame:
    """A reply as it came over a wire: nothing in it is known to be true, not even that it can be read.

    Attributes:
        client: Whose channel it came through; not a field of the message.
        data: The bytes; ``wire/reply_frames.py`` reads them.
    """

    client: ClientId
    data: bytes


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a message does not count.

    Attributes:
        message: One sentence for people.
        damaged: Whether the message may be one that was damaged on its way, so that a sound copy may still come.
    """

    reason: Reason
    message: str
    damaged: bool = False


Reply = Probed | Update | Evaluated | Failure


def _claims(kind: type) -> dict[str, Claim]:
    return {
        name: mark
        for name, types in keys_of(kind).items()
        for _, marks in types
        for mark in marks
        if isinstance(mark, Claim)
    }


CLAIMS = {kind: _claims(kind) for kind in (Probed, Update, Evaluated, Failure)}
"""What each kind of reply claims, by the names of its fields."""


def phase_of(message: Request | Reply) -> PhaseName:
    """Return the phase that a request or reply belongs to.

    Example:
        >>> phase_of(Evaluate(ClientId("a"), 0, {}))
        'evaluate'
    """
    match message:
        case Failure():
            return message.phase
        case Probe() | Probed():
            return "probe"
        case Train() | Update():
            return "train"
        case Evaluate() | Evaluated():
            return "evaluate"
