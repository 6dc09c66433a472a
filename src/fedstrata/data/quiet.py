"""Silence around calls into ``datasets`` and ``flwr_datasets``, which draw progress bars of their own."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide progress bars and messages of the data libraries inside this block, and restore them after it.

    Example:
        >>> with quiet():
        ...     pass
    """
    # three seconds to import, and a configuration is checked without it
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from datasets.utils import logging as datasets_logging

    level, bars = datasets_logging.get_verbosity(), are_progress_bars_disabled()
    datasets_logging.set_verbosity(logging.CRITICAL)
    disable_progress_bars()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        datasets_logging.set_verbosity(level)
        if not bars:
            enable_progress_bars()
