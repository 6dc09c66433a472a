"""The clients' machines: device profiles from YAML files, as ``fedstrata bench client`` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fedstrata.config.load import Loaded
from fedstrata.domain.device import DeviceProfile
from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError, nearest
from fedstrata.parsing.bounded_files import UnreadableError, read_text
from fedstrata.parsing.paths import expanded
from fedstrata.parsing.problems import Problem, config_error, problems_of
from fedstrata.parsing.yaml_text import MOST_BYTES, yaml_value

DEFAULT = "default"
"""Key of the machine of every client that is not listed."""

_PROFILE = TypeAdapter(DeviceProfile)


def load_devices(loaded: Loaded, clients: Sequence[ClientId]) -> Mapping[ClientId, DeviceProfile]:
    """Return the machine of each client that has one.

    Raises:
        ConfigError: A file that is no device profile, or a client that does not exist; with its place.
    """
    given = loaded.config.devices
    listed = {DEFAULT: given} if isinstance(given, str) else dict(given or {})
    problems = [
        Problem(("devices", name), f"no client is called '{name}'; {nearest(name, [DEFAULT, *clients])}")
        for name in listed
        if name != DEFAULT and name not in clients
    ]
    machines: dict[str, DeviceProfile] = {}
    for name, path in listed.items():
        try:
            machines[name] = read_device(loaded.base / expanded(path))
        except ConfigError as error:
            where = ("devices",) if isinstance(given, str) else ("devices", name)
            problems.append(Problem(where, str(error)))
    if problems:
        raise config_error(problems, loaded.marks)
    found = {client: machines.get(client, machines.get(DEFAULT)) for client in clients}
    return {client: machine for client, machine in found.items() if machine is not None}


def read_device(path: Path) -> DeviceProfile:
    """Return the device profile in a file.

    Raises:
        ConfigError: No such file, or not a profile; with the key that is wrong.
    """
    try:
        values, _ = yaml_value(read_text(path, most=MOST_BYTES), str(path))
    except (OSError, UnreadableError) as error:
        raise ConfigError(
            f"cannot read the device profile {path}: {error}; 'fedstrata bench client' writes one"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is not a device profile; 'fedstrata bench client' writes one")
    known = DeviceProfile.__dataclass_fields__
    for key in values:
        if key not in known:
            raise ConfigError(f"{path}: a device profile has no '{key}'; {nearest(str(key), known)}")
    try:
        return _PROFILE.validate_python(values)
    except ValidationError as error:
        first = problems_of(error, values)[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first.loc))}: {first.message}") from error
