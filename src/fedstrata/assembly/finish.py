"""What a run leaves in the end: its model as an ordinary folder, and which classes it mistakes for which."""

from __future__ import annotations

import json
import shutil

from safetensors import SafetensorError

from fedstrata.assembly.central import count_confusion
from fedstrata.assembly.ending import kept
from fedstrata.assembly.export_choice import exports
from fedstrata.assembly.prepared import PreparedRun
from fedstrata.assembly.provenance import model_card
from fedstrata.errors import StorageError, TrainingError
from fedstrata.files import argument, write_atomic
from fedstrata.models.custom import is_custom
from fedstrata.models.hub import save_model
from fedstrata.server.run import RunResult


def finish(prepared: PreparedRun, result: RunResult) -> None:
    """Write ``model/``, an ordinary HF folder, once a run has finished."""
    if result.state != "finished":
        return
    try:
        _write_confusion(prepared, result)
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
        raise TrainingError(kept(prepared.folder, result.weights, error)) from error
    shutil.rmtree(prepared.folder.weights, ignore_errors=True)  # of an earlier try
    prepared.folder.forget_answers()


def _write_confusion(prepared: PreparedRun, result: RunResult) -> None:
    """Write which classes the final model mistakes for which on the test rows."""
    size = prepared.loaded.config.evaluate.batch_size
    counts = count_confusion(prepared.resident, prepared.data, result.weights, size)
    if counts is not None:
        names = list(prepared.data.card.labels)
        values = {"round": result.summary["rounds"], "labels": names, "counts": counts}
        write_atomic(prepared.folder.confusion, json.dumps(values))
