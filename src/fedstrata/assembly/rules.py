"""The rules of a round, from the configuration's sections ``round`` and ``upload``."""

from __future__ import annotations

from collections.abc import Mapping

from fedstrata.config.load import Loaded
from fedstrata.errors import ConfigError
from fedstrata.server.method import Setting
from fedstrata.server.rules import Rules
from fedstrata.wire.messages import PhaseName


def rules_of(loaded: Loaded) -> Rules:
    """Return when a round counts."""
    r = loaded.config.round
    deadlines: Mapping[PhaseName, float] = r.deadline if isinstance(r.deadline, Mapping) else {}
    if isinstance(r.deadline, int | float):
        deadlines = {"probe": r.deadline, "train": r.deadline, "evaluate": r.deadline}
    return Rules(
        quorum=r.quorum,
        layer_quorum=r.layer_quorum,
        deadlines=deadlines,
        retries=r.retries,
        on_abandon=r.on_abandon,
        max_norm=loaded.config.upload.max_norm,
        keep_updates=None if r.keep_updates == "auto" else r.keep_updates,
    )


def check_quorum(setting: Setting, name: str) -> None:
    """Refuse a quorum that no cohort can reach.

    Args:
        setting: The run.
        name: ``quorum`` or ``layer_quorum``.

    Raises:
        ConfigError: It is larger than the first round's cohort.
    """
    cohort, rules = len(setting.cohort(0, 0)), setting.rules
    needed = rules.needed(cohort) if name == "quorum" else rules.layer_quorum
    if needed > cohort:
        people = "1 client takes" if cohort == 1 else f"{cohort} clients take"
        raise ConfigError(f"{needed} clients are needed, but {people} part in a round; use {cohort} at most")
