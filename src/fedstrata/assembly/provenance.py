"""Where a run came from: its configuration with every default, its environment, its model's card."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
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
from fedstrata.domain.cost import spread
from fedstrata.domain.formatting import megabytes
from fedstrata.domain.layers import LayerMap
from fedstrata.models.lora import BASE
from fedstrata.models.merging import FOLDER

if TYPE_CHECKING:
    from fedstrata.data.tensors import FederatedData
    from fedstrata.server.setting import Setting

FAMILIES = ("data", "score", "cost", "budget", "sampler", "selector", "trainer", "aggregator")
BITS_DO_NOT_DEPEND_ON = frozenset({"name", "output", "base", "engine", "workers", "flower", "checkpoint", "theory"})
"""Keys of a configuration that may change while a run is resumed."""
PACKAGES = ("fedstrata", "torch", "transformers", "safetensors", "datasets", "flwr-datasets", "numpy", "scipy", "peft")

_FRONT = (
    "---",
    "library_name: transformers",
    "tags:",
    *(f"- {tag}" for tag in ("fedstrata", "federated-learning", "selective-layer-fine-tuning")),
    "---",
    "",
)
"""What a model's card says to whoever indexes it."""


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


def after_last(summary: Mapping[str, Any]) -> str:
    """Return the model card's sentence about the weights after a run's last round."""
    final = summary["final"]
    return f"after the last round ({summary['rounds']}): accuracy {final['accuracy']:.4f}, loss {final['loss']:.4f}"


def model_card(
    loaded: Loaded, setting: Setting, data: FederatedData, summary: Mapping[str, Any], *, said: str = ""
) -> str:
    """Return the README of a model that came out.

    Args:
        loaded: The configuration.
        setting: Method, clients, layers.
        data: The rows.
        summary: Of the run.
        said: After which round the weights are, with their figures; by default those after the last round.
    """
    layers = setting.layers
    shown = spread(p.budget for p in setting.profiles.values())
    return "\n".join(
        [
            *_FRONT,
            f"# {short(loaded.config.model.path)}, fine-tuned with fedstrata",
            "",
            f"Federated selective-layer fine-tuning by **{setting.name}**: in every round each client trained and sent "
            "only the layers that its budget paid for.",
            "",
            f"- weights {said or after_last(summary)} on {len(data.test)} test rows",
            f"- rounds: {summary['rounds']}, seed: {summary['seed']}",
            f"- selectable layers: {len(layers)} ({layers.names[0]} to {layers.names[-1]})",
            f"- trained by everyone: {', '.join(b.name for b in layers.always) or 'nothing'}",
            f"- frozen: {', '.join(_frozen(loaded, layers)) or 'nothing'}",
            *_adapter(loaded),
            f"- budget: {shown} per client and round",
            f"- clients: {len(setting.profiles)}, "
            f"training rows: {sum(p.num_examples for p in setting.profiles.values())}, "
            f"labels: {len(data.labels)}; partition: {data.card.partition}",
            f"- uploaded: {megabytes(summary['bytes_up'])} MB in all",
            "",
            "The configuration that made it:",
            "",
            f"```yaml\n{_without_paths_of_this_machine(loaded)}\n```",
            "",
        ]
    )


def _frozen(loaded: Loaded, layers: LayerMap) -> list[str]:
    """Return the frozen blocks; the own weights of adapted layers are said in one word."""
    if loaded.config.model.adapter is None:
        return [block.name for block in layers.never]
    others = [block.name for block in layers.never if not block.name.endswith(f".{BASE}")]
    return [*others, "the layers' own weights"]


def _adapter(loaded: Loaded) -> tuple[str, ...]:
    """Say what was trained in the place of weights, and how the two forms of it are loaded."""
    given = loaded.config.model.adapter
    if given is None:
        return ()
    return (
        f"- adapter: {given.kind}, rank {given.rank}, alpha {given.alpha:g}; the weights here have it merged in and"
        " load as any others",
        f"- `{FOLDER}/` holds it alone: `PeftModel.from_pretrained(base, folder)` on"
        f" {short(loaded.config.model.path)} with as many labels; what everyone trained is in it too",
    )


def _without_paths_of_this_machine(loaded: Loaded) -> str:
    values = resolved_values(loaded)
    del values["base"], values["output"], values["flower"]  # nor who may take part
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
