"""Values of a declared type as plain values and back: strictly, and in exactly one form.

Types are checked as pydantic checks JSON in its strict mode: nothing is converted. A key that is missing, is none of
ours or stands for an element that a set has already makes another form, also where a field has a default.
"""

from __future__ import annotations

import json
from operator import attrgetter
from typing import Any, TypeVar, get_type_hints

from pydantic import GetPydanticSchema, TypeAdapter, ValidationError
from pydantic_core import core_schema

from fedstrata.parsing.problems import dotted, problems_of

T = TypeVar("T")
_SHOWN = 40
_NESTED = (dict, list)


def plain(kind: TypeAdapter[T], value: T) -> Any:  # noqa: ANN401  what JSON holds
    """Return a value of a type as JSON holds it.

    Example:
        >>> plain(TypeAdapter(tuple[int, ...]), (1, 2))
        [1, 2]
    """
    return kind.dump_python(value, mode="json")


def typed(kind: TypeAdapter[T], value: object) -> T:
    """Return the value of a type that plain values hold, in the form that ``plain`` gives it.

    Raises:
        ValueError: They hold none, whatever they are.

    Example:
        >>> typed(TypeAdapter(tuple[int, ...]), [1, 2])
        (1, 2)
    """
    try:
        found = kind.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise ValueError(problem(error, value)) from error
    except (TypeError, RecursionError) as error:
        raise ValueError("it is no JSON, or too deep") from error
    if _form(value) != _form(plain(kind, found)):
        raise ValueError("it has other keys than it should have, or an element twice")
    return found


def problem(error: ValidationError, value: object) -> str:
    """Return the first thing that pydantic found wrong with a value, in one short sentence."""
    first = problems_of(error, value)[0]
    return (f"{dotted(first.loc)[:100]}: " if first.loc else "") + first.message[:200]


def shown(value: object) -> str:
    """Return a value in a few letters, whatever it is; what is nested is not looked into.

    Example:
        >>> shown(10**5000), shown([[1]]), shown("a" * 100)
        ('a number of more than 20 digits', 'a list', "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' and more")
    """
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    if isinstance(value, str) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r} and more"
    return repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"


def listed(kind: type[T]) -> GetPydanticSchema:
    """Return the mark of a dataclass that is written as the list of its fields' values, which is short.

    Example:
        ``tests/parsing/test_typed.py`` writes and reads one.
    """
    hints = get_type_hints(kind, include_extras=True)

    def schema(_: object, handler: Any) -> core_schema.CoreSchema:  # noqa: ANN401  pydantic's
        row = handler.generate_schema(tuple[tuple(hints.values())])  # type: ignore[misc]
        written = core_schema.plain_serializer_function_ser_schema(attrgetter(*hints), return_schema=row)
        return core_schema.no_info_after_validator_function(lambda values: kind(*values), row, serialization=written)

    return GetPydanticSchema(schema)


def _form(value: object) -> object:
    """Return the keys and lengths of plain values, without what stands there."""
    if isinstance(value, dict):
        return {key: _form(inner) if isinstance(inner, _NESTED) else None for key, inner in value.items()}
    if isinstance(value, list):
        return len(value), [_form(inner) for inner in value if isinstance(inner, _NESTED)]
    return None
