"""Where a run came from: its configuration with every default, its environment, its model's card."""

from __future__ import annotations

import json
import platform
from datetime import datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fedstrata.assembly.anew import settings_of, without_anew
from fedstrata.config.catalog import describe
from fedstrata.config.load import Loaded
from fedstrata.data.kinds import Digits

if TYPE_CHECKING:
    from fedstrata.data.tensors import FederatedData
    from fedstrata.server.setting import Setting

FAMILIES = ("data", "score", "cost", "budget", "sampler", "selector", "trainer", "aggregator")
BITS_DO_NOT_DEPEND_ON = frozenset(
    {"name", "output", "base", "engine", "workers", "flower", "ray", "checkpoint", "theory"}
)
"""Keys of a configuration that may change while a run is resumed."""
PACKAGES = ("fedstrata", "torch", "transformers", "safetensors", "datasets", "flwr-datasets", "numpy", "scipy", "peft")


def resolved(loaded: Loaded) -> str:
    """Return the configuration as YAML that builds the same run again, every default written out."""
    return yaml.safe_dump(resolved_values(loaded), sort_keys=False, allow_unicode=True)


def resolved_values(loaded: Loaded) -> dict[str, Any]:
    """Return what ``resolved`` writes, as plain values."""
    values = loaded.config.model_dump(mode="json")
    values |= {family: describe(getattr(loaded.components, family)) for family in FAMILIES}
    return {**values, "base": str(loaded.base.resolve())}


def environment(loaded: Loaded) -> str:
    """Return versions, device and threads as JSON."""
    import torch  # four seconds that a mistyped key does not wait for

    return json.dumps(
        {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: _version(name) for name in PACKAGES},
            "threads": loaded.config.threads,
            "seed": loaded.config.seed,
            "cuda": torch.version.cuda if torch.cuda.is_available() else None,
            "bits": "repeatable with these versions on this kind of CPU"
            if not torch.cuda.is_available()
            else "GPU kernels may differ in the last bits between runs",
        },
        indent=1,
    )


def identity(loaded: Loaded) -> dict[str, str]:
    """Return what a run's bits depend on beside the seed: hash of the configuration, versions of packages."""
    values = resolved_values(loaded)
    said = {key: value for key, value in without_anew(values).items() if key not in BITS_DO_NOT_DEPEND_ON}
    digest = sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()
    packages = ("torch", "transformers", "numpy", *(("peft",) if loaded.config.model.adapter else ()))
    return {"configuration": digest, **{name: _version(name) or "none" for name in packages}}


def short(path: str) -> str:
    """Return the last two parts of a path: enough to tell models and data apart, and no folder of this machine.

    Example:
        >>> short("/home/me/data/ag_news/train.parquet"), short("embedded:vit-digits")
        ('ag_news/train.parquet', 'embedded:vit-digits')
    """
    return "/".join(Path(path).parts[-2:])


def header(loaded: Loaded, setting: Setting, data: FederatedData) -> dict[str, Any]:
    """Return the facts of a run for its log's first event."""
    layers, source = setting.layers, loaded.components.data
    return {
        "method": setting.name,
        "seed": loaded.config.seed,
        "model": short(loaded.config.model.path),
        "data": ", ".join(data.card.files) if isinstance(source, Digits) else short(source.main),
        "layers": list(layers.names),
        "always": [b.name for b in layers.always],
        "never": [b.name for b in layers.never],
        "layer_bytes": [b.bytes for b in layers.layers],
        "clients": list(setting.profiles),
        "settings": settings_of(resolved_values(loaded)),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
