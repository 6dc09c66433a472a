"""Two Ray nodes of one core each, run by hand from another process: ``python ray_nodes.py FOLDER``.

Says the cluster's address, then answers each line of standard input (``kill``: the second node is killed; ``start``:
if it was killed, another one takes its place) with ``done``. At the end of its input it ends the nodes that it started.
"""

from __future__ import annotations

import sys
from pathlib import Path

_MEMORY = 80 * 2**20  # bytes of each node's object store: about Ray's least

_TRIES = 20


def main(folder: str) -> None:
    """Start both nodes, and obey until the input ends."""
    from ray.cluster_utils import Cluster

    (Path(folder) / "ray").mkdir()  # where Ray leaves its address, in RAY_TMPDIR
    cluster = Cluster()
    for number in range(_TRIES):
        own = f"{folder}/h{number}"
        try:
            cluster.add_node(num_cpus=1, object_store_memory=_MEMORY, include_dashboard=False, temp_dir=own)
            break
        except Exception as error:  # Ray waits for 30 s, which a busy machine may take
            sys.stderr.write(f"{error}\n")
    other = cluster.add_node(wait=False, num_cpus=1, object_store_memory=_MEMORY)
    _say(cluster.address)
    try:
        for line in sys.stdin:
            if line == "kill\n":
                cluster.remove_node(other, allow_graceful=False)
                other = None
            elif line == "start\n" and other is None:
                other = cluster.add_node(wait=False, num_cpus=1, object_store_memory=_MEMORY)
            _say("done")
    finally:
        cluster.shutdown()


def _say(line: str) -> None:
    sys.stdout.write(f"cluster: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
