#!/usr/bin/env python3
"""Django's command line for Meterproof."""

import os
import sys


def main() -> None:
    """Run a management command with the embedded settings unless DJANGO_SETTINGS_MODULE says otherwise."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance.config.settings.embedded")
    from django.core.management import execute_from_command_line

    from compliance.jobs import row_scope

    with row_scope.everything():  # whoever runs commands has the password of the database
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
