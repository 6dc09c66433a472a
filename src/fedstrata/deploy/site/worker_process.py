"""A site's resident worker: keeps model, rows and optimizer warm between the messages of a run.

    python -m fedstrata.deploy.site.worker_process SITE_FILE READY

READY is an inherited descriptor that is told when callers are served. Two processes live: one serves, and one waits for
it and writes down how it ended, which nobody else would know. Both belong to no terminal and outlive who started them.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedstrata.deploy.site.answer import Answer, Answering
from fedstrata.deploy.site.config import SiteConfig, fingerprint, load_site
from fedstrata.deploy.site.runtime_dir import READY, RuntimeDir, runtime_dir_of
from fedstrata.deploy.site.serving import Reception, listen
from fedstrata.deploy.site.starting import write_ending
from fedstrata.errors import FedstrataError
from fedstrata.files import private_folder, write_private
from fedstrata.locks import Lock

log = logging.getLogger("fedstrata.deploy.site.worker_process")  # also where this module is what was started

Make = Callable[[SiteConfig], Answering]
"""Makes what answers; called with the first message, since it imports torch."""
_OTHER = 300.0  # seconds for a worker that is about to end
_LOG_BYTES = 2**20
_GRACE = 60.0  # seconds that work may take to notice that its time is up


def main(arguments: Sequence[str], make: Make | None = None) -> None:
    """Become a site's worker: returns once it has ended.

    Args:
        arguments: The site's file, and the descriptor that is told.
        make: Makes what answers; by default the site's service.
    """
    path, ready = Path(arguments[0]), int(arguments[1])
    if os.fork():
        os._exit(0)  # who started it reaps this process, and need not wait for the worker
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        runtime_dir = runtime_dir_of(path)
        site, mark = _moved_in(path, runtime_dir)
    except (FedstrataError, OSError) as error:
        raise SystemExit(str(error)) from error
    words = _log_of(site)
    child = os.fork()
    if child == 0:
        _serve(site, mark, runtime_dir, words, ready, make or _service)
        logging.shutdown()
        os._exit(0)  # torch takes its time to be taken apart
    os.close(ready)
    write_ending(words, os.waitpid(child, 0)[1])


def _moved_in(path: Path, runtime_dir: RuntimeDir) -> tuple[SiteConfig, str]:
    """Return the site's file and its digest; no other worker of the site can move in before both processes end."""
    life = Lock(runtime_dir.life)
    if not life.take(within=_OTHER):
        raise SystemExit("another worker of this site lives and does not answer")
    site = load_site(path)
    mark = fingerprint(site)
    private_folder(site.state)
    own = Lock(site.state / "worker.lock")
    if not own.take(within=0):
        raise SystemExit(f"another worker uses {site.state}; each site's file needs a state folder of its own")
    return site, mark


def _log_of(site: SiteConfig) -> Path:
    """Return the worker's log, begun anew when it has grown long."""
    path = site.state / "worker.log"
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_name("worker.log.old"))
    return path


def _serve(site: SiteConfig, mark: str, runtime_dir: RuntimeDir, words: Path, ready: int, make: Make) -> None:
    """Serve callers until there is a reason to end."""
    hello = {"pid": os.getpid(), "version": version("fedstrata"), "log": str(words), "state": str(site.state)}
    service, key = cache(partial(make, site)), runtime_dir.key()
    reception = Reception(
        key=key,
        hello=hello,
        stale=lambda: _useless(site, mark, runtime_dir, key),
        idle=site.idle,
        answer=lambda said, layers: _watched(service(), site.limits.seconds, said, layers),
    )
    write_private(runtime_dir.pid, str(os.getpid()))
    runtime_dir.socket.unlink(missing_ok=True)
    with listen(str(runtime_dir.socket)) as listening:
        _speak_into(words)
        log.info("worker %d of site %s serves (fedstrata %s)", os.getpid(), site.name, hello["version"])
        os.write(ready, READY)
        os.close(ready)
        why = reception.serve(listening)
        runtime_dir.socket.unlink(missing_ok=True)
    log.info("the worker ends: %s", why)


def _watched(answer: Answering, seconds: float, said: Mapping[str, Any], layers: Mapping[str, bytes]) -> Answer:
    """Answer a message, or end this process if it takes far longer than the site's file allows.

    The service stops its work by itself; this is for work that does not come back from compiled code to be stopped.
    """
    faulthandler.dump_traceback_later(seconds + _GRACE, exit=True)
    try:
        return answer(said, layers)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _speak_into(words: Path) -> None:
    """Have all that this process prints go to the log."""
    descriptor = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")
    logging.getLogger("fedstrata").setLevel(logging.INFO)


def _useless(site: SiteConfig, mark: str, runtime_dir: RuntimeDir, key: bytes) -> str | None:
    """Return why this worker cannot be of use any more, or ``None``."""
    try:
        if fingerprint(site) != mark:
            return "the site's file is another one now"
        return None if runtime_dir.socket.exists() and runtime_dir.key() == key else "its socket or key is gone"
    except OSError as error:
        return f"the site's file or runtime folder cannot be read: {error.strerror}"


def _service(site: SiteConfig) -> Answering:
    from fedstrata.deploy.site.service import Service

    return Service(site).answer


if __name__ == "__main__":
    main(sys.argv[1:])
