"""A site's worker that does what it is asked, without torch or a model: for tests of processes."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedstrata.deploy.site import serving
from fedstrata.deploy.site import worker_process as worker
from fedstrata.deploy.site.answer import Answer, Answering
from fedstrata.deploy.site.config import SiteConfig
from fedstrata.deploy.site.worker_process import main
from waiting import HANG

COMMAND = (sys.executable, "-P", "-m", "toy_worker")


def make(site: SiteConfig) -> Answering:
    """Return what does what it is asked."""
    made = os.urandom(4).hex()
    worker._GRACE = float(os.environ.get("TOY_GRACE", worker._GRACE))

    def answer(said: Mapping[str, Any], layers: Mapping[str, bytes]) -> Answer:
        match said["do"]:
            case "raise":
                raise ValueError("row 17 of rows.csv is odd")
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "spin":  # in compiled code, where no signal is heeded
                re.match(r"(a|a)*b", "a" * 60)
            case "wait":  # until somebody has opened the other end
                Path(said["fifo"]).read_bytes()
        parts = (b"head", *layers.values())
        return Answer({"kind": "done", "pid": os.getpid(), "made": made, **said}, parts, tuple(layers))

    return answer


if __name__ == "__main__":
    serving._LOOK = HANG  # so that what it notices, it notices because somebody has come
    main(sys.argv[1:], make)
