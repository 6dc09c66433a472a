"""What a site pins: keys of a run that its own file fixes, so that a run which says something else is refused."""

from __future__ import annotations

from typing import Any

from fedstrata.config.schema import AdapterSection
from fedstrata.deploy.site.run_spec import RunSpec
from fedstrata.deploy.site.site_schema import PinSection
from fedstrata.domain.layer_language import split_terms
from fedstrata.domain.reasons import Reason
from fedstrata.errors import ClientError

_TERMS = ("candidates", "always", "never")
_OF_MODEL = ("head", "blocks", "units", "adapter", *_TERMS)
_OF_ROWS = ("held_out", "max_length", "image_size")


def check_pins(pin: PinSection, run_spec: RunSpec) -> None:
    """Refuse a run that says something else than the site's file pins.

    Args:
        pin: What the site's file says.
        run_spec: What the server says.

    Raises:
        ClientError: The first key that differs, with both values.

    Example:
        ``tests/deploy/site/test_pins.py`` has a run of every kind that is refused.
    """
    for key in sorted(pin.model_fields_set):
        mine, theirs = _compared(key, getattr(pin, key)), _compared(key, _said(key, run_spec))
        if mine != theirs:
            where = f"model.{key}" if key in _OF_MODEL else f"data.{key}" if key in _OF_ROWS else key
            raise ClientError(
                f"the run has {where}: {_shown(theirs)}, and its own file pins {_shown(mine)} (pin.{key})",
                reason=Reason.REFUSED,
            )


def _said(key: str, run_spec: RunSpec) -> object:
    if key in _OF_MODEL:
        return getattr(run_spec.model, key)
    if key in _OF_ROWS:
        return getattr(run_spec.data, key)
    return run_spec.train.precision if key == "precision" else getattr(run_spec, key)


def _compared(key: str, value: object) -> Any:  # noqa: ANN401  whatever the key holds
    """Return a value so that two ways to write the same are equal."""
    if key in _TERMS and isinstance(value, str | int | tuple):
        return split_terms(value)
    if isinstance(value, AdapterSection):
        return value.kind
    return list(value) if isinstance(value, tuple) else value


def _shown(value: object) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
