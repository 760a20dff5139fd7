"""Columns of the ledger."""

from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    from django.db.models.fields import _GT, _ST

    class BytesField(models.BinaryField[_ST, _GT]):
        """What type checkers see: `bytes` in and out, or None where the column is nullable."""

        _pyi_private_set_type: bytes
        _pyi_private_get_type: bytes

else:

    class BytesField(models.BinaryField):
        """Bytes that come back as `bytes` from every engine, so that they compare, hash and key alike."""

        def from_db_value(self, value, _expression, _connection):
            """Psycopg hands out memoryviews, which compare by content but sort and print otherwise."""
            return None if value is None else bytes(value)
