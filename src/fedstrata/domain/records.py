"""What a round did, as plain values: the single source for the event log, tables, report and resume.

Records are for people: their rounds count from 1, and 0 is the starting point before any training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, nan
from typing import Annotated

from pydantic import BeforeValidator, Field

from fedstrata.domain.ids import ClientId, LayerName

SCHEMA = 6
"""Version of the event log's fields; since 6 rounds count from 1."""

OrNan = Annotated[float, BeforeValidator(lambda value: nan if value is None else value)]
OrInf = Annotated[float, BeforeValidator(lambda value: inf if value is None else value)]
"""Numbers for which the event log, which is strict JSON, has null where they are too large for one."""
LayerIndex = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Accuracy and mean loss over a set of rows.

    Attributes:
        accuracy: Share of rows classified correctly, in [0, 1].
        loss: Mean cross-entropy in nats.
        num_examples: Number of rows.
    """

    accuracy: float
    loss: OrNan
    num_examples: int


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """One client in one round.

    Attributes:
        round: Number of the round, from 1.
        budget: What it could pay, by unit; units without a limit are left out.
        mask: Indices of the layers it was asked to train, ascending; empty where it only trained ``always``.
        scores: Score per layer; empty where it was not probed.
        probe_round: The round at whose start the weights were that the scores were measured at: this round, or the one
            before where the probe was piggybacked on its update; ``None`` where there are no scores.
        probe_loss: Mean loss over the probed rows, at the same weights.
        update_norms: Euclidean norm of its delta per trained block (layers by name, and ``always``).
        predicted: The price of its mask and its probes by unit, with the bytes that it lacked when the mask was chosen;
            what is not priced is left out.
        bytes_up: Deltas and statistics it sent, those for the next round's selection included.
        bytes_down: Layers it lacked, and its mask.
        seconds_probe: Time of the probes that it did in this round, whatever round they are for.
        peak_bytes: Largest memory that its probe and training held; ``None`` where that cannot be told.
        prefix: How its training came by the outputs of frozen layers: ``cached``, ``off``, or why not.
        prefix_read: Rows that they were at hand for, counted at each use.
        prefix_computed: Rows that they were computed for.
        prefix_bytes: Bytes of all that were at hand when it was done.
        failure: ``None``, or the reason code; ``failure_message`` says more.
    """

    round: int
    client: ClientId
    num_examples: int
    budget: Mapping[str, float] = field(default_factory=dict)
    mask: tuple[LayerIndex, ...] = ()
    scores: tuple[float, ...] = ()
    probe_round: int | None = None
    probe_loss: float | None = None
    loss_first: float | None = None
    loss_mean: float | None = None
    steps: int = 0
    update_norms: Mapping[str, float] = field(default_factory=dict)
    predicted: Mapping[str, float] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    peak_bytes: int | None = None
    seconds_probe: float = 0.0
    seconds_train: float = 0.0
    prefix: str = "off"
    prefix_read: int = 0
    prefix_computed: int = 0
    prefix_bytes: int = 0
    failure: str | None = None
    failure_message: str | None = None


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One block in one round, at the server.

    Attributes:
        contributors: k_l, how many clients' updates entered the aggregate; 0 where they were below the layer's quorum.
        data_mass: A_l, their share of the training rows of all clients whose update counted, in [0, 1].
        chi2: ``1 / A_l - 1``, the chi-square divergence of the layer's weights from the data's; ``None`` if A_l = 0.
        update_norm: Euclidean norm of the change of the global weights; exactly 0.0 where nobody trained it.
        below_quorum: How many clients trained it in vain, being too few.
    """

    name: LayerName
    contributors: int
    data_mass: float
    chi2: float | None
    update_norm: OrNan
    below_quorum: int = 0


@dataclass(frozen=True, slots=True)
class LayerTheory:
    """One selectable layer's part in a round's error (``domain/theory.py``).

    Attributes:
        data_mass: A_l, as in the layer's own record.
        gradient_sq: G_l, squared norm of the clients' mean gradient at the round's starting weights.
        spread: kappa_l^2, mean squared distance of the clients' gradients from it.
        error: The layer's part of E_t.
    """

    name: LayerName
    data_mass: float
    gradient_sq: OrInf
    spread: OrInf
    error: OrInf


@dataclass(frozen=True, slots=True)
class TheoryRecord:
    """A round's error and its bound, over the clients whose updates were aggregated, and their training rows.

    Attributes:
        error: E_t, how far the round's direction was from the full gradient, squared.
        missing_layers: E_t1, from the layers that nobody trained.
        wrong_weights: E_t2, from the layers that only some trained; E_t is at most E_t1 + E_t2.
        layers: One per selectable layer, input to output.
        loss_before: f at the round's starting weights; ``None`` where it was not measured or is not finite.
        loss_after: f at its outcome, over the same rows.
        estimated: Whether all this comes from sketches of the probes' rows; if not, it is exact.
        seconds: What measuring took; not in the round's.
    """

    error: OrInf
    missing_layers: OrInf
    wrong_weights: OrInf
    layers: tuple[LayerTheory, ...] = ()
    loss_before: float | None = None
    loss_after: float | None = None
    estimated: bool = False
    seconds: float = 0.0

    @property
    def bound(self) -> float:
        """``E_t1 + E_t2``."""
        return self.missing_layers + self.wrong_weights


@dataclass(frozen=True, slots=True)
class Abandoned:
    """An attempt at a round that did not count: the weights are those from before it.

    Attributes:
        round: Number of the round, from 1.
        attempt: How often the round was abandoned before.
        phase: The phase in which too few clients were left.
        answered: Clients whose answers counted in that phase.
        needed: The quorum.
        message: One sentence for people.
        failures: Reason per client that was lost.
        losses: By reason, how many clients and messages did not count.
        bytes_up: What the cohort sent in vain.
        bytes_down: What it was sent in vain.
        seconds: Wall time of the attempt.
    """

    round: int
    attempt: int
    phase: str
    answered: int
    needed: int
    message: str
    failures: Mapping[ClientId, str] = field(default_factory=dict)
    losses: Mapping[str, int] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round, whole.

    Attributes:
        round: Number of the round, from 1.
        attempt: How often it was abandoned before.
        committed: Whether it counted; a round that was given up leaves the weights as they were.
        losses: By reason, how many clients, messages and layers did not count.
        clients: One record per client of the cohort, ascending by name.
        layers: One record per selectable layer, input to output, then one per ``always`` block.
        frozen_norms: Per ``never`` block 0.0 if its bits are those of the start of the run (measured by a checksum),
            else infinite (null in the event log).
        certificate: ``objective``, ``bound``, ``gap``, ``rule`` of the solver, or ``None``.
        test: Central test metrics after the round, or ``None`` if not evaluated.
        validation: Sums over the clients' held-out rows, or ``None``.
        client_accuracy: Accuracy on each client's held-out rows.
        bytes_up: Sum over the cohort.
        bytes_down: Sum over the cohort.
        seconds: Wall time of the round without evaluation.
        peak_bytes: Peak memory seen so far (resident set on CPU, allocator on a GPU).
        theory: The round's error and its bound, where they are measured.
    """

    round: int
    clients: tuple[ClientRecord, ...]
    layers: tuple[LayerRecord, ...]
    attempt: int = 0
    committed: bool = True
    losses: Mapping[str, int] = field(default_factory=dict)
    frozen_norms: Mapping[LayerName, OrInf] = field(default_factory=dict)
    certificate: Mapping[str, OrInf | str] | None = None
    test: Metrics | None = None
    validation: Metrics | None = None
    client_accuracy: Mapping[str, float] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    theory: TheoryRecord | None = None
