"""A site's ClientApp: Flower starts a process for every message, which hands it to the site's resident worker.

Neither torch nor the model is loaded here. The worker (``deploy/site/worker_process.py``) keeps both warm between
messages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedstrata.blame import kind_of, told
from fedstrata.deploy.flower.mods import refuse_mods
from fedstrata.deploy.site.answer import Answer
from fedstrata.engines.flower.envelope import Envelope, enclose, opened, words
from fedstrata.errors import ClientError, ConfigError

log = logging.getLogger(__name__)

_MOST_WORDS = 1000
Serve = Callable[[Envelope, Context], Envelope]
"""Answers what is in a message; the nonce is repeated by whoever calls it."""


def client_app(mods: Sequence[Any] = (), *, serve: Serve | None = None) -> ClientApp:
    """Return the ClientApp of a site.

    Args:
        mods: Flower mods around every message, such as ``message_size_mod``.
        serve: Who answers; by default the site's resident worker.

    Raises:
        ConfigError: A mod that cannot work where clients send different layers.

    Example:
        ``tests/deploy/flower/test_client.py`` runs one without a network.
    """
    refuse_mods(mods)
    app, answer = ClientApp(mods=list(mods)), serve or _ask_the_worker

    def handle(message: Message, context: Context) -> Message:
        return _answered(message, context, answer)

    app.query("join")(handle)
    app.query("probe")(handle)
    app.train("layers")(handle)
    app.evaluate()(handle)
    return app


def _answered(message: Message, context: Context, serve: Serve) -> Message:
    """Return the answer to a message; errors are returned in it, since Flower would hide their sentence."""
    nonce: object = ""
    try:
        envelope = _read(message)
        nonce = envelope.said.get("nonce", "")
        answer = serve(envelope, context)
        content = enclose(Envelope({**answer.said, "nonce": nonce}, answer.blobs))
    except Exception as error:
        log.error("the message was not answered: %s", told(error), exc_info=error)
        why = _sentence(error)
        content = enclose(Envelope({"kind": "failure", "message": why, "nonce": nonce}, {}))
    return Message(content, reply_to=message)


def _read(message: Message) -> Envelope:
    """Return what is in a message.

    Raises:
        ClientError: It is not one of ours; what is wrong with it is the server's own to know.
    """
    try:
        return opened(message.content)
    except ValueError as error:
        raise ClientError(words(str(error), _MOST_WORDS)) from error


def _sentence(error: Exception) -> str:
    """Return what the server may read: a sentence of ours, since an exception's own text may hold paths or rows."""
    if isinstance(error, ClientError):
        return words(str(error), _MOST_WORDS)
    return f"the site could not answer ({kind_of(error)}); the log of its SuperNode says more"


def _ask_the_worker(envelope: Envelope, context: Context) -> Envelope:
    from fedstrata.deploy.site.worker_client import ask

    try:
        path = site_file(context)
    except ConfigError as error:
        raise ClientError(str(error)) from error
    answer = ask(path, envelope.said, envelope.blobs)
    if answer.words:
        log.error("the site's worker ended; the last that it said: %s", answer.words)  # for this machine's eyes alone
    return enveloped(answer)


def site_file(context: Context) -> Path:
    """Return the site's own file, which its SuperNode was started with.

    Raises:
        ConfigError: The SuperNode was started without one.
    """
    named = context.node_config.get("site")
    if not isinstance(named, str) or not named:
        raise ConfigError(
            "the SuperNode names no site file; start it with: --node-config 'site=\"/path/to/site.yaml\"'"
        )
    return Path(named)


def enveloped(answer: Answer) -> Envelope:
    """Return what a site answers as what is in a message."""
    return Envelope(answer.said, named(answer.parts, answer.blocks))


def named(parts: Sequence[bytes], blocks: Sequence[str]) -> dict[str, bytes]:
    """Return the parts of a frame by name: its head, then one part per block.

    Example:
        >>> named([b"head", b"one"], ["h.0"])
        {'/head': b'head', 'h.0': b'one'}
    """
    return dict(zip(["/head", *blocks], parts, strict=True)) if parts else {}
