"""`manage.py migrate`, without the checks of the database: it is what puts up the guards that they ask for."""

from typing import Any

from django.core.management.commands.migrate import Command as Migrate


class Command(Migrate):
    """Django's own, which would refuse as long as a guard is down or of an older release, or a first run was cut off.

    What the checks look for is asked at start, every hour, and by `manage.py check --database default`.
    """

    def get_check_kwargs(self, options: dict[str, Any]) -> Any:
        """The checks of the code alone."""
        return {**super().get_check_kwargs(options), "databases": []}
