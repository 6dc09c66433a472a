"""Two thousand sequences of what may befall a round, held against the oracle."""

from __future__ import annotations

import pytest

from server.test_protocol_machine import play_sequences

pytestmark = pytest.mark.soak


def test_no_sequence_of_events_makes_a_round_count_what_it_must_not(monkeypatch: pytest.MonkeyPatch) -> None:
    play_sequences(2000, monkeypatch)
