"""Model instances into and out of statements that Django cannot write.

Where one statement does what would be three of Django's, the columns are still the models'.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import connection, models
from psycopg.types.json import Jsonb

M = TypeVar("M", bound=models.Model)


def selected(model: type[models.Model], source: str) -> str:
    """The model's columns, as `instance` takes them."""
    return ", ".join(f'{source}."{field.column}"' for field in model._meta.concrete_fields)


def instance(model: type[M], row: Sequence[Any]) -> M:
    fields = model._meta.concrete_fields
    return model.from_db(
        connection.alias,
        [field.attname for field in fields],
        [_read(field, value) for field, value in zip(fields, row, strict=True)],
    )


def _read(field: models.Field[Any, Any], value: Any) -> Any:
    read = getattr(field, "from_db_value", None)
    return read(value, None, connection) if read else value


def insertion(model: type[models.Model], **found: str) -> str:
    """The beginning of a statement up to its FROM. Columns are `found` in the statement itself,
    or else are `parameters`."""
    fields = model._meta.concrete_fields
    columns = ", ".join(f'"{field.column}"' for field in fields)
    values = ", ".join(
        found.get(field.attname, f"%({_parameter(model, field)})s") for field in fields
    )
    return f'INSERT INTO "{model._meta.db_table}" ({columns}) SELECT {values}'


def parameters(row: models.Model) -> dict[str, Any]:
    """The values as they are: the database knows the columns' types, but for JSON's."""
    return {
        name: Jsonb(getattr(row, attribute)) if is_json else getattr(row, attribute)
        for name, attribute, is_json in _parameters(type(row))
    }


@cache
def _parameters(model: type[models.Model]) -> list[tuple[str, str, bool]]:
    return [
        (_parameter(model, field), field.attname, isinstance(field, models.JSONField))
        for field in model._meta.concrete_fields
    ]


def mark_as_inserted(row: models.Model) -> None:
    row._state.adding, row._state.db = False, connection.alias


def _parameter(model: type[models.Model], field: models.Field[Any, Any]) -> str:
    return f"{model._meta.model_name}_{field.column}"
