"""Opens local Hugging Face folders: configuration, tokenizer, image processor; nothing is ever fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers

from fedstrata.errors import ModelError
from fedstrata.models.place import EMBEDDED as EMBEDDED
from fedstrata.models.place import model_folder as model_folder
from fedstrata.pretrained import opened

_DROPOUT = re.compile("drop")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ``transformers`` from writing reports and progress bars while the body runs."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_config(folder: Path) -> Any:  # noqa: ANN401
    """Return the folder's ``transformers`` configuration.

    Raises:
        ModelError: It is not one that this ``transformers`` knows.
    """
    try:
        with quiet():
            return opened(transformers.AutoConfig, folder)
    except Exception as error:  # transformers raises whatever its readers raise
        raise ModelError(f"cannot read {folder / 'config.json'}: {first_line(error)}") from error


def set_dropout(config: Any, dropout: float) -> None:  # noqa: ANN401
    """Set every dropout probability of a configuration, in place.

    Raises:
        ModelError: It has none, or the probability is outside [0, 1).

    Example:
        >>> config = transformers.ViTConfig()
        >>> set_dropout(config, 0.25)
        >>> config.hidden_dropout_prob, config.attention_probs_dropout_prob
        (0.25, 0.25)
    """
    if not 0 <= dropout < 1:
        raise ModelError(f"dropout must be in [0, 1), got {dropout}")
    parts = [config, *(getattr(config, name, None) for name in ("vision_config", "text_config"))]
    names = [
        (part, name)
        for part in parts
        if part is not None
        for name, value in part.to_dict().items()
        if _DROPOUT.search(name) and isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    if not names:
        raise ModelError(f"a {config.model_type} model has no dropout to set; leave model.dropout out")
    for part, name in names:
        setattr(part, name, dropout)


def load_tokenizer(path: Path | str) -> Any:  # noqa: ANN401
    """Return the folder's tokenizer.

    Raises:
        ModelError: The folder has none, or it cannot be read.
    """
    folder = model_folder(path, weights=False)
    known = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
    if not any((folder / name).is_file() for name in known):
        raise ModelError(
            f"model folder '{folder}' has no tokenizer (looked for {', '.join(known)}); copy its files there"
        )
    try:
        with quiet():
            return opened(transformers.AutoTokenizer, folder)
    except Exception as error:  # transformers raises whatever its readers raise
        raise ModelError(f"cannot read the tokenizer of '{folder}': {first_line(error)}") from error


def load_processor(path: Path | str) -> Any:  # noqa: ANN401
    """Return the folder's image processor (PIL, so that torchvision is not needed).

    Raises:
        ModelError: The folder has none, or it cannot be read.
    """
    folder = model_folder(path, weights=False)
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        raise ModelError(
            f"model folder '{folder}' has no preprocessor_config.json; copy the one of the model it was trained from"
        )
    try:
        with quiet():
            return opened(transformers.AutoImageProcessor, folder, backend="pil")
    except Exception as error:  # transformers raises whatever its readers raise
        raise ModelError(f"cannot read the image processor of '{folder}': {first_line(error)}") from error


def first_line(error: Exception) -> str:
    r"""Return the first sentence of a library's message.

    Example:
        >>> first_line(ValueError("bad file\nlong story"))
        'bad file'
    """
    return str(error).strip().partition("\n")[0] or type(error).__name__
