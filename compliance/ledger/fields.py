"""Columns of the ledger."""

from typing import TYPE_CHECKING

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class BytesField(models.BinaryField):
    """Bytes that come back as `bytes` from every engine, so that they compare, hash and key alike."""

    if TYPE_CHECKING:
        _pyi_private_set_type: bytes
        _pyi_private_get_type: bytes

    def from_db_value(
        self, value: bytes | memoryview | None, _expression: object, _connection: BaseDatabaseWrapper
    ) -> bytes | None:
        """Psycopg hands out memoryviews, which compare by content but sort and print otherwise."""
        return None if value is None else bytes(value)
