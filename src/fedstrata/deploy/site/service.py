"""A site's service: what a server asks comes in, what may leave goes out, and is written down before it does.

    join    a declaration: rows, budget, refused layers, hashes of what is at hand
    work    a frame: the answer to a probe, a training or an evaluation; or the names of blocks that are missing

Anything else, and whatever stands in the way of a join, is ``refused`` with a sentence.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from fedstrata.deploy.site import audit_messages as wording
from fedstrata.deploy.site.answer import Answer, refused
from fedstrata.deploy.site.audit_log import WORK, AuditLog, kinds_of, quoted
from fedstrata.deploy.site.cache import LayerCache
from fedstrata.deploy.site.config import SiteConfig
from fedstrata.deploy.site.error_redaction import failed, sentence
from fedstrata.deploy.site.limits import check_limits, digest_of_plan, withheld
from fedstrata.deploy.site.request_check import check_request
from fedstrata.deploy.site.run_spec import digest_of, read_run_spec
from fedstrata.deploy.site.runtime import Runtime, open_runtime, renamed
from fedstrata.deploy.site.sizes import check_head, check_run_spec, client_of, run_of
from fedstrata.deploy.site.timer import OutOfTime, within
from fedstrata.domain.ids import ClientId
from fedstrata.domain.layers import Layer
from fedstrata.domain.reasons import Reason
from fedstrata.domain.rounds import number
from fedstrata.engines.local import failure
from fedstrata.errors import ClientError, StorageError
from fedstrata.wire.messages import Failure, Reply, Request, Train, Update, Weights, phase_of
from fedstrata.wire.reply_frames import parts
from fedstrata.wire.requests import from_json
from fedstrata.wire.sizes import Encoding

log = logging.getLogger(__name__)

NAMELESS = "?"
"""How the log calls a run whose name is none."""
UNNAMED = ClientId("site")
"""What a site with rows of its own is called until the server has named it."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of a request.

    Attributes:
        reply: What is to leave.
        blocks: The blocks that an update holds.
        told: Names of the layers whose statistics are not withheld, by index.
        rows: How many different rows it is computed from.
        missing: Blocks that are missing instead.
        worked: Whether the site's rows were worked with, so that a failure tells of them, too.
    """

    reply: Reply | None = None
    blocks: tuple[Layer, ...] = ()
    told: Mapping[int, str] = field(default_factory=dict)
    rows: int = 0
    missing: tuple[str, ...] = ()
    worked: bool = False


class Service:
    """Answers for a site; one message at a time.

    The name of a site in a run: a share's is fixed by the site's file. With its own rows it is the one that the
    server's first request bears, and stays so for the run, also when the worker is started anew: which rows are held
    out follows from it, and a server that changed it would get to see updates from rows that were held out before.

    Args:
        site: The site's own file.
    """

    def __init__(self, site: SiteConfig) -> None:
        self._site = site
        self._log = AuditLog(site.state)
        self._cache = LayerCache(site.state / "layers", site.cache_bytes)
        self._runtime: Runtime | None = None
        self._run_spec = ""

    def answer(self, said: Mapping[str, Any], layers: Mapping[str, bytes]) -> Answer:
        """Return the answer to a message, after it was written down; whatever a server says, it does not raise.

        Args:
            said: ``kind``, ``run``, ``run_spec``, and what the kind needs.
            layers: A safetensors blob per block that the server thinks the site lacks.
        """
        try:
            run = run_of(said)
            check_run_spec(said.get("run_spec"))
        except ClientError as error:
            return self._refuse(NAMELESS, sentence(error))
        match said.get("kind"):
            case "join":
                return self._join(said, run)
            case "work":
                return self._work(said, run, layers)
        return self._refuse(run, "the message is of a kind that this version of fedstrata does not know")

    def _join(self, said: Mapping[str, Any], run: str) -> Answer:
        try:
            with within(self._site.limits.seconds):
                runtime = self._open(said, run, said.get("client"))
            if len(runtime.rows.train) < self._site.limits.min_rows:
                raise ClientError("it has fewer training rows than its own limits allow (limits.min_rows)")
            word = runtime.declaration(self._site)
        except Exception as error:
            return self._refuse(run, sentence(error))
        answer = Answer({"kind": "declaration", **word.to_json()})
        return self._tell(run, wording.of_declaration(word, self._site.name)) or answer

    def _work(self, said: Mapping[str, Any], run: str, layers: Mapping[str, bytes]) -> Answer:
        start = perf_counter()
        try:
            request = from_json(said["request"], {})
            check_head(request)
            manifest = dict(said["manifest"])
        except ClientError as error:
            return self._refuse(run, sentence(error))
        except (KeyError, TypeError, ValueError) as error:
            return self._refuse(run, f"the request is not one that this version of fedstrata knows: {str(error)[:200]}")
        done = _Done()
        try:
            with within(self._site.limits.seconds):
                runtime, weights, missing = self._ready(said, run, request, manifest, layers)
                done = _Done(missing=missing, worked=not missing)
                if done.worked:
                    done = self._do(runtime, replace(request, weights=weights))
        except Exception as error:
            done = _Done(failed(request, error), worked=done.worked)
            if isinstance(error.__cause__, OutOfTime):
                self._runtime = None  # it was left wherever it was
        answer = self._sent(done, request, run)
        return Answer({**answer.said, "seconds": perf_counter() - start}, answer.parts, answer.blocks)

    def _ready(
        self,
        said: Mapping[str, Any],
        run: str,
        request: Request,
        manifest: Mapping[Any, Any],
        layers: Mapping[str, bytes],
    ) -> tuple[Runtime, Weights, tuple[str, ...]]:
        """Return what the work needs, and the blocks that are missing for it.

        Raises:
            ClientError: The site's limits forbid it.
        """
        runtime = self._open(said, run, request.client)
        check_request(request, runtime.layers)
        check_limits(
            request,
            self._site.limits,
            rows=len(runtime.rows.train),
            held_out=len(runtime.rows.held_out),
            refused=runtime.refused,
            layers=runtime.layers,
            past=self._log.past(run),
        )
        return runtime, *runtime.layer_store.weights(manifest, layers)

    def _do(self, runtime: Runtime, request: Request) -> _Done:
        reply = runtime.handler.handle(request)
        blocks = runtime.layers.blocks(request.mask) if isinstance(request, Train) else ()
        told = {index: name for index, name in enumerate(runtime.layers.names) if index not in runtime.refused}
        return _Done(withheld(reply, runtime.refused), blocks, told, runtime.rows_of(request), worked=True)

    def _sent(self, done: _Done, request: Request, run: str) -> Answer:
        """Write down what leaves and return it; what cannot be framed or written down does not leave."""
        reply = done.reply
        if reply is None:
            answer = Answer({"kind": "missing", "blocks": list(done.missing)})
            return self._tell(run, wording.of_missing(request, done.missing), request) or answer
        try:
            answer = framed(reply, done.blocks, request)
        except Exception as error:
            reply = failed(request, error)
            answer = framed(reply, (), request)
        words, facts = wording.of_reply(reply, answer.bytes, blocks=done.blocks, told=done.told, rows=done.rows)
        if isinstance(reply, Failure) and done.worked:
            facts = {**facts, "worked": kinds_of(request)}
        return self._tell(run, (words, facts), request) or answer

    def _refuse(self, run: str, message: str) -> Answer:
        return self._tell(run, wording.of_refusal(message)) or refused(message)

    def _tell(self, run: str, told: wording.Told, request: Request | None = None) -> Answer | None:
        """Write down what leaves; if that cannot be done, return the answer that leaves in its place."""
        words, facts = told
        where: dict[str, Any] = {"run": run, "round": None}
        if request is not None:
            phase = phase_of(request)
            where |= {"round": number(phase, request.round), "phase": phase, "client": request.client}
            where |= {"attempt": request.origin.attempt}
        if isinstance(request, Train) and (facts["kind"] == "update" or "worked" in facts):
            where |= {"plan": digest_of_plan(request)}
        try:
            words, facts = self._with_rows(run, words, facts)
            self._log.tell(words, {**where, **facts})
        except StorageError as error:
            log.error("nothing leaves: %s", error)
            message = "its log of what leaves it cannot be written, so nothing leaves"
            if request is None:
                return refused(message)
            return framed(failure(request, Reason.CLIENT_ERROR, message), (), request)
        return None

    def _with_rows(self, run: str, words: str, facts: Mapping[str, Any]) -> wording.Told:
        """Add which rows a message tells of, and say so if they are not those that the run's last message told of."""
        tells = facts["kind"] in (*WORK, "declaration") or "worked" in facts
        if self._runtime is None or not tells:
            return words, facts
        mark, before = self._log.mark(self._runtime.rows_hash), self._log.rows(run)
        if before in (None, mark):
            return words, {**facts, "rows_hash": mark}
        changed = "its rows, or how they are read, have changed since the last message of this run"
        log.warning("run %s: %s; start a new run, or put back the rows that it began with", quoted(run), changed)
        return f"{words}; {changed}", {**facts, "rows_hash": mark, "rows_changed": True}

    def _open(self, said: Mapping[str, Any], run: str, client: object) -> Runtime:
        """Return the runtime for a run specification and a name; another takes the place of the last."""
        terms = said.get("run_spec")
        digest = digest_of(terms)
        if self._runtime is not None and digest == self._run_spec and client is None:
            return self._runtime
        name = self._named(run, client)
        if self._runtime is None or digest != self._run_spec:
            self._runtime = None  # its memory is needed
            self._runtime = open_runtime(self._site, read_run_spec(terms), name, self._cache)
            self._run_spec = digest
        elif name != self._runtime.client:
            self._runtime = renamed(self._runtime, self._site, read_run_spec(terms), name)
        return self._runtime

    def _named(self, run: str, client: object) -> ClientId:
        """Return the site's name in a run.

        Raises:
            ClientError: The server calls it by another one.
        """
        known = self._site.share.client if self._site.share else self._log.client(run)
        if client is None:
            return ClientId(str(known or UNNAMED))
        name = client_of(client)
        if name != (known or name):
            raise ClientError(f"this site is client {known} in the run, and not {name}")
        return ClientId(name)


def framed(reply: Reply, blocks: tuple[Layer, ...], request: Request) -> Answer:
    """Return a reply as an answer.

    Args:
        reply: What is to leave.
        blocks: The blocks that an update holds.
        request: What it answers.
    """
    update = isinstance(reply, Update) and isinstance(request, Train)
    sent = blocks if update else ()
    encoding = Encoding(request.plan.encoding) if isinstance(request, Train) else Encoding.FLOAT32
    return Answer({"kind": "frame"}, parts(reply, sent, encoding), tuple(block.name for block in sent))
