"""A selector of one's own: early layers in the first half of the run, late ones in the second.

python examples/custom_selector.py
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fedstrata
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import LayerMap
from fedstrata.domain.selection import Selection, SelectionProblem
from fedstrata.selectors.masks import candidates, fill_all
from fedstrata.selectors.protocol import SelectorState


@dataclass(frozen=True, slots=True)
class Sweep:
    """Bottom layers until half of the rounds are over, top layers after that.

    Attributes:
        rounds: Rounds of the run.
    """

    rounds: int

    def init(self, layers: LayerMap) -> SelectorState:
        """Return no memory."""
        return {}

    def probes(self, round: int, cohort: Sequence[ClientId], state: SelectorState) -> tuple[ClientId, ...]:
        """Return nobody: no scores are needed."""
        return ()

    def select(self, problem: SelectionProblem, state: SelectorState) -> tuple[Selection, SelectorState]:
        """Return masks filled from one end, as far as each budget pays."""
        order = candidates(problem.layers)
        late = 2 * problem.round >= self.rounds
        return fill_all(problem, reversed(order) if late else order), state


def main() -> None:
    """Run it on the demo's setting, and print what it chose and what came out."""
    result = fedstrata.run(
        Path(__file__).with_name("digits.yaml"),
        overrides=["selector={kind: custom_selector:Sweep, rounds: 4}", "train.rounds=4", "checkpoint.every=4"],
    )
    for line in (result.folder / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "client" and event["client"] == "client-00":
            print(f"round {event['round']}: layers {event['mask']}")
    print(f"accuracy {result.summary['final']['accuracy']:.3f} in {result.folder}")


if __name__ == "__main__":
    main()
