"""The one door to ``transformers``' readers: nothing is fetched, no code of a folder runs, no pickle is opened.

A model folder comes from somebody else. ``from_pretrained`` fetches what is missing, runs the Python files that an
``auto_map`` names if someone says yes, and falls back to pickles, unless it is told otherwise in every single call; so
every call goes through here (``tests/test_pretrained.py`` holds the source to it).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def opened(family: Any, folder: Path, **options: Any) -> Any:  # noqa: ANN401  transformers' own types
    """Return what a ``transformers`` class reads from a local folder.

    Args:
        family: A class with ``from_pretrained``, such as ``AutoConfig``.
        folder: A local folder.
        options: Anything else that the class takes.

    Raises:
        Exception: Whatever the reader raises.

    Example:
        See ``tests/test_pretrained.py``.
    """
    return family.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)


def opened_weights(family: Any, folder: Path, **options: Any) -> Any:  # noqa: ANN401  transformers' own types
    """Return the model that a ``transformers`` class reads from a local folder, from safetensors alone.

    Args:
        family: A class with ``from_pretrained``, such as ``AutoModelForImageClassification``.
        folder: A local folder whose files have been checked (``models/weights.py``).
        options: Anything else that the class takes.

    Raises:
        Exception: Whatever the reader raises.
    """
    return opened(family, folder, use_safetensors=True, weights_only=True, **options)


def built(family: Any, config: Any, **options: Any) -> Any:  # noqa: ANN401  transformers' own types
    """Return a model that a ``transformers`` class builds from a configuration, by its own code alone.

    Args:
        family: A class with ``from_config``.
        config: The configuration.
        options: Anything else that the class takes.

    Raises:
        Exception: Whatever the model's code raises.
    """
    return family.from_config(config, trust_remote_code=False, **options)
