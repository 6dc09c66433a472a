"""The README of a model that came out of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from fedstrata.assembly.provenance import resolved_values, short
from fedstrata.config.load import Loaded
from fedstrata.domain.cost import spread
from fedstrata.domain.formatting import megabytes
from fedstrata.domain.layers import LayerMap
from fedstrata.models.lora import BASE
from fedstrata.models.merging import FOLDER

if TYPE_CHECKING:
    from fedstrata.data.tensors import FederatedData
    from fedstrata.server.setting import Setting

_FRONT = (
    "---",
    "library_name: transformers",
    "tags:",
    *(f"- {tag}" for tag in ("fedstrata", "federated-learning", "selective-layer-fine-tuning")),
    "---",
    "",
)
"""What a model's card says to whoever indexes it."""


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
