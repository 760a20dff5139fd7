"""How the engines write what an append decided: `base.py` says what, `postgresql.py` and `sqlite.py` how."""

from django.db import connection

from compliance.ledger.store.base import Begin, ChainHead, EntryRows, KnownEvent, Store
from compliance.ledger.store.postgresql import PostgresStore
from compliance.ledger.store.sqlite import SqliteStore

__all__ = ["Begin", "ChainHead", "EntryRows", "KnownEvent", "Store", "current"]


def current() -> Store:
    """The store of the default database's engine."""
    return PostgresStore() if connection.vendor == "postgresql" else SqliteStore()
