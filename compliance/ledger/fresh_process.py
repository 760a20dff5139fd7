"""The first thing a process does that reads the ledger for another: it imports nothing that needs Django before."""

from typing import Any

import django
from django.conf import settings
from django.db import connections


def begin(database: str, meterproof: dict[str, Any]) -> None:
    """Become a part of the installation that the parent looks at: the settings of the environment, but its `database`
    and its folders."""
    django.setup()
    from compliance.jobs import row_scope

    row_scope.settle(row_scope.EVERYTHING)
    settings.METERPROOF = meterproof
    connections["default"].settings_dict["NAME"] = database
