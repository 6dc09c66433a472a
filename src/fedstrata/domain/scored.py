"""The mask of scored tokens that a batch carries where only some of a text's tokens are scored.

Data make such batches and models read them, and neither knows the other, so the names are here.
"""

from __future__ import annotations

from typing import Final

PLACES: Final = "places"
"""Where each scored token is predicted: its place less one, counted over the flattened batch ``[texts * length]``.

Shape ``[scored tokens]``, int64.
"""

TARGETS: Final = "targets"
"""The scored tokens. Shape ``[scored tokens]``, int64."""

SHARES: Final = "shares"
"""Each scored token's share of its text's score, 1 / scored tokens of the text. Shape ``[scored tokens]``, float32."""

CHOICES: Final = "choices"
"""How many texts in turn are the choices of each row; only where all choices are judged. Shape ``[rows]``, int64."""

BESIDES: Final = frozenset({PLACES, TARGETS, SHARES, CHOICES})
"""All of these names: no model takes them."""
