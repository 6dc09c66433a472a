"""How fast a client's machine is: measured rates that turn operations and bytes into seconds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite

from fedstrata.errors import ConfigError


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """Rates of one machine; ``fedstrata bench client`` measures them.

    Attributes:
        forward: Floating-point operations per second of forward passes.
        carry: The same for gradients carried through layers to their inputs.
        weight: The same for weight gradients.
        update: Bytes per second of the optimizer's update: trained parameters, gradients and state.
        step: Seconds that every local step takes besides.
        visit: Seconds that every request takes besides.
        upload: Bytes per second to the server; ``None`` where transfer takes no time.
        download: Bytes per second from the server; ``None`` where transfer takes no time.
        memory: Bytes that training may use; ``None`` if not known.
        name: What was measured, for people.
    """

    forward: float
    carry: float
    weight: float
    update: float
    step: float = 0.0
    visit: float = 0.0
    upload: float | None = None
    download: float | None = None
    memory: float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse rates that are not positive, and times that are negative."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "name" or value is None:
                continue
            least_is_zero = field.name in ("step", "visit")
            if not isfinite(value) or value < 0 or (value == 0 and not least_is_zero):
                wanted = "0 or more" if least_is_zero else "above 0"
                raise ConfigError(f"device profile '{self.name}' has {field.name}: {value}; it must be {wanted}")
