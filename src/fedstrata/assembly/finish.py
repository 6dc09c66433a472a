"""What a run leaves in the end: its model as an ordinary folder or, where that cannot be written, its tensors."""

from __future__ import annotations

import shutil

from safetensors import SafetensorError

from fedstrata.assembly.confusion import write_confusion
from fedstrata.assembly.export_choice import exports
from fedstrata.assembly.model_card import model_card
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.errors import StorageError, TrainingError
from fedstrata.files import argument
from fedstrata.models.custom import is_custom
from fedstrata.models.export import save_weights, sentence
from fedstrata.models.hub import save_model
from fedstrata.runs.folder import RunFolder
from fedstrata.server.run import RunResult
from fedstrata.wire.messages import Weights


def finish(prepared: PreparedRun, result: RunResult) -> None:
    """Write ``model/``, an ordinary HF folder, once a run has finished."""
    if result.state != "finished":
        return
    try:
        write_confusion(prepared, result)
        companions = None if is_custom(prepared.network.source) else prepared.network.source
        for found in exports(prepared.loaded.config.export, prepared.folder, result):
            card = model_card(prepared.loaded, prepared.setting, prepared.data, result.summary, said=found.said)
            save_model(prepared.network, found.weights, found.path, card=card, tokenizer_files_from=companions)
    except (OSError, SafetensorError) as error:
        advice = f"make room, then write it with: fedstrata resume {argument(prepared.folder.path)}"
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"the model cannot be written to {prepared.folder.model}: {reason}; {advice}") from error
    except TrainingError:
        raise
    except Exception as error:  # whatever transformers raises as it writes
        raise TrainingError(_kept(prepared.folder, result.weights, error)) from error
    shutil.rmtree(prepared.folder.weights, ignore_errors=True)  # of an earlier try
    prepared.folder.forget_answers()


def _kept(folder: RunFolder, weights: Weights, error: Exception) -> str:
    """Write the trained tensors alone, and return why, where they are, and how to get the model."""
    try:
        where = f"its trained tensors are in {save_weights(weights, folder.weights)}, by their names in the model"
    except (OSError, SafetensorError) as second:
        where = f"its trained tensors are in the newest of {folder.checkpoints} ({getattr(second, 'strerror', second)})"
    return (
        f"the model cannot be written to {folder.model}: {sentence(error)}; {where}; mend the cause, then write the "
        f"model with: fedstrata resume {argument(folder.path)}"
    )
