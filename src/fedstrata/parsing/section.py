"""What sections of files that people write are made of: a configuration, a sweep, a site's own file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Whole = Annotated[int, Field(le=2**31 - 1)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
LayerTerms = str | int | tuple[str | int, ...]


class Section(BaseModel, frozen=True, extra="forbid"):
    """A section that knows its keys; it may share some with a record of what is worked with."""
