"""Which of Flower's mods are refused, whatever is around them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flwr.client.mod
import flwr.clientapp.mod
import pytest
from flwr.app import Context, Message
from flwr.client.mod import secagg_mod, secaggplus_mod
from flwr.clientapp.mod import LocalDpMod, adaptiveclipping_mod, arrays_size_mod, fixedclipping_mod, message_size_mod

from fedstrata.deploy.flower.mods import REASONS, REFUSED, refuse_mods
from fedstrata.errors import ConfigError

Next = Callable[[Message, Context], Message]


class Quieter(LocalDpMod):
    """A user's own."""


@functools.wraps(fixedclipping_mod)
def around(message: Message, context: Context, then: Next) -> Message:
    return fixedclipping_mod(message, context, then)


@functools.wraps(fixedclipping_mod)
def renamed(message: Message, context: Context, then: Next) -> Message:
    return fixedclipping_mod(message, context, then)


renamed.__name__ = "harmless"


def own_mod(message: Message, context: Context, then: Next) -> Message:
    return then(message, context)


LOCAL_DP = LocalDpMod(1.0, 1.0, 1.0, 1e-5)
BAD: dict[str, tuple[Any, str]] = {
    "secagg": (secagg_mod, "secagg_mod"),
    "secaggplus": (secaggplus_mod, "secaggplus_mod"),
    "fixed": (fixedclipping_mod, "fixedclipping_mod"),
    "adaptive": (adaptiveclipping_mod, "adaptiveclipping_mod"),
    "local": (LOCAL_DP, "LocalDpMod"),
    "class": (LocalDpMod, "LocalDpMod"),
    "subclass": (Quieter(1.0, 1.0, 1.0, 1e-5), "LocalDpMod"),
    "partial": (functools.partial(functools.partial(fixedclipping_mod)), "fixedclipping_mod"),
    "wrapped": (around, "fixedclipping_mod"),
    "renamed": (renamed, "fixedclipping_mod"),
}


@pytest.mark.parametrize(("mod", "name"), BAD.values(), ids=BAD)
def test_a_mod_that_cannot_work_is_refused_by_name_with_the_reason(mod: Any, name: str) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError, match=f"^{name} cannot be used with fedstrata: .*; leave it out$") as error:
        refuse_mods([message_size_mod, mod])
    assert REASONS[REFUSED[name]] in str(error.value)


def test_mods_that_only_look_are_taken_and_so_are_a_users_own() -> None:
    refuse_mods([])
    refuse_mods([message_size_mod, arrays_size_mod, own_mod, functools.partial(own_mod), lambda m, c, then: then(m, c)])


def test_every_mod_of_flowers_is_either_refused_or_known_to_only_look() -> None:
    """A new one has to be looked at before it is taken."""
    known = {"message_size_mod", "arrays_size_mod", "make_ffn"} | set(REFUSED)
    assert set(flwr.clientapp.mod.__all__) | set(flwr.client.mod.__all__) == known
