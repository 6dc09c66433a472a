"""Opens local Hugging Face folders: configuration, tokenizer, image processor; nothing is ever fetched."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers

from fedstrata.errors import ModelError
from fedstrata.models.model_path import EMBEDDED as EMBEDDED
from fedstrata.models.model_path import model_folder as model_folder
from fedstrata.pretrained import opened

TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
"""Files that a tokenizer is read from; a folder has one or two of them."""

_SENTENCEPIECE = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
"""Packages that read a SentencePiece model, and the modules that tell whether they are installed."""

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
            config = opened(transformers.AutoConfig, folder)
    except Exception as error:  # transformers raises whatever its readers raise
        raise ModelError(f"cannot read {folder / 'config.json'}: {first_line(error)}") from error
    for name in ("vision_config", "text_config"):
        part = getattr(config, name, None)
        if part is not None and not isinstance(part, transformers.PreTrainedConfig):
            raise ModelError(f"{folder / 'config.json'}: {name} is {type(part).__name__}, not a mapping of its own")
    return config


def set_outputs(config: Any) -> None:  # noqa: ANN401
    """Have a model return its logits alone, in place.

    A configuration that asks for attention weights can be read and not be written again; one that asks for hidden
    states keeps them all in memory; and one that asks for tuples has no logits by name.

    Example:
        >>> config = transformers.BertConfig(output_hidden_states=True, return_dict=False)
        >>> set_outputs(config)
        >>> config.output_hidden_states, config.return_dict
        (False, True)
    """
    wanted = {"output_attentions": False, "output_hidden_states": False, "return_dict": True}
    for part in (config, *(getattr(config, name, None) for name in ("vision_config", "text_config"))):
        for name, value in wanted.items():
            if part is not None and getattr(part, name, value) != value:
                setattr(part, name, value)


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


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder has a file that a tokenizer is read from."""
    return any((folder / name).is_file() for name in TOKENIZERS)


def load_tokenizer(path: Path | str) -> Any:  # noqa: ANN401
    """Return the folder's tokenizer.

    Raises:
        ModelError: The folder has none, or it cannot be read.
    """
    folder = model_folder(path, weights=False)
    if not has_tokenizer(folder):
        raise ModelError(
            f"model folder '{folder}' has no tokenizer (looked for {', '.join(TOKENIZERS)}); copy its files there"
        )
    try:
        with quiet():
            return opened(transformers.AutoTokenizer, folder)
    except Exception as error:  # transformers raises whatever its readers raise
        raise ModelError(f"cannot read the tokenizer of '{folder}': {_unread(folder) or first_line(error)}") from error


def _unread(folder: Path) -> str | None:
    """Return why a folder whose only vocabulary is a SentencePiece model cannot be read, if a package is missing.

    ``transformers`` then takes the file for another kind and asks for that one's package.
    """
    if (folder / "tokenizer.json").is_file():
        return None
    missing = [name for name, module in _SENTENCEPIECE.items() if importlib.util.find_spec(module) is None]
    file = next((f for f in sorted(folder.glob("*.model")) if f.is_file() and _is_sentencepiece(f)), None)
    if file is None or not missing:
        return None
    return (
        f"'{file.name}' is a SentencePiece model, and reading one needs {' and '.join(missing)}; install with: pip "
        f"install {' '.join(missing)}, or bring a tokenizer.json, which AutoTokenizer.from_pretrained(folder)"
        ".save_pretrained(folder) writes where they are installed"
    )


def _is_sentencepiece(file: Path) -> bool:
    """Return whether a file begins as a SentencePiece model does: with its first piece, in protobuf."""
    with file.open("rb") as content:
        return content.read(1) == b"\n"


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
