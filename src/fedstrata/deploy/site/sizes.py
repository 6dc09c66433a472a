"""How long what a message says may be: held before anything of it is logged, kept or worked with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fedstrata.data.kinds import CLIENT
from fedstrata.errors import ClientError
from fedstrata.parsing.typed import shown
from fedstrata.wire.messages import Request

MOST_NAME = 200
"""Letters of a run's name, and of each text in a request."""
MOST_RUN_SPEC = 4 * 2**20
"""Letters of a run specification, written as JSON."""
MOST_ROUND = 10_000_000
"""Rounds and attempts of a run."""


def run_of(said: Mapping[str, Any]) -> str:
    """Return the run's name.

    Raises:
        ClientError: It has none, or one that is too long.

    Example:
        >>> run_of({"run": "trial"})
        'trial'
    """
    return _text(said.get("run"), "the run's name")


def client_of(name: object) -> str:
    """Return the name that a server calls the site by.

    Raises:
        ClientError: No client can be called so.

    Example:
        >>> client_of("ward-3")
        'ward-3'
    """
    if not isinstance(name, str) or not CLIENT.fullmatch(name):
        raise ClientError(f"{shown(name)} is no name of a client; it has 1 to 64 of a-z, 0-9, hyphen and underscore")
    return name


def check_head(request: Request) -> None:
    """Make sure of what an answer repeats, and the log says, of a request: its client, round and origin.

    Raises:
        ClientError: One of them is none, or too long.
    """
    client_of(request.client)
    _text(request.origin.run, "the run's name in the request", empty=True)
    _text(request.origin.base, "the digest of the weights in the request", empty=True)
    for count in (request.round, request.origin.attempt):
        if not 0 <= count <= MOST_ROUND:
            raise ClientError(f"a round or an attempt is {shown(count)}; it is a whole number up to {MOST_ROUND:,}")


def check_run_spec(said: object) -> None:
    """Make sure that a run specification is short enough to be kept.

    Raises:
        ClientError: It is longer.
    """
    try:
        size = len(json.dumps(said))
    except (TypeError, ValueError, RecursionError) as error:
        raise ClientError("the run's specification cannot be used: it is no JSON") from error
    if size > MOST_RUN_SPEC:
        raise ClientError(f"the run's specification has {size:,} letters; it may have {MOST_RUN_SPEC:,}")


def _text(value: object, what: str, *, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value or empty):
        raise ClientError(f"{what} is {shown(value)}; it is a text")
    if len(value) > MOST_NAME:
        raise ClientError(f"{what} has {len(value):,} letters; it may have {MOST_NAME}")
    return value
