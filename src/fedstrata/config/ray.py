"""The section ``ray``: which cluster a run is played over, and what an actor reserves on its node."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from fedstrata.parsing.section import Section

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


class RaySection(Section, frozen=True):
    """A run over a Ray cluster; other engines leave it alone.

    Attributes:
        cluster: ``HOST:PORT`` of the cluster, or ``auto``: the one that this machine is a node of.
        gpus: GPUs that each actor reserves, a fraction where several share one; null is one where clients compute on a
            GPU, and none elsewhere.
    """

    cluster: str = "auto"
    gpus: float | None = Field(default=None, ge=0, le=1024, allow_inf_nan=False)

    def gpus_on(self, device: str) -> float:
        """Return the GPUs that an actor reserves whose clients compute on a device.

        Args:
            device: ``cpu``, ``cuda``, ``mps``, or ``auto``, which reserves none.
        """
        return float(device == "cuda") if self.gpus is None else self.gpus

    @field_validator("cluster")
    @classmethod
    def _an_address(cls, value: str) -> str:
        return cluster_address(value)


def cluster_address(value: str) -> str:
    """Return the address of a cluster as it is.

    Raises:
        ValueError: It is none.

    Example:
        >>> cluster_address("auto"), cluster_address("node-1:6379"), cluster_address("[fe80::1]:6379")
        ('auto', 'node-1:6379', '[fe80::1]:6379')
        >>> cluster_address("ray://node-1:10001")
        Traceback (most recent call last):
        ...
        ValueError: 'ray://node-1:10001' is no address of a Ray cluster; give auto, or HOST:PORT as ray start says it
    """
    found = _ADDRESS.fullmatch(value)
    if value != "auto" and (found is None or not 0 < int(found[2]) < 2**16):
        raise ValueError(f"'{value[:80]}' is no address of a Ray cluster; give auto, or HOST:PORT as ray start says it")
    return value
