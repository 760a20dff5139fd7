"""Load the catalogues that come with the product. Safe to run at every start."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compliance.frameworks import actions
from compliance.frameworks.catalogue import CatalogueError


class Command(BaseCommand):
    help = "Load the shipped frameworks, mappings and reference documents; what is loaded already stays as it is."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            loaded = actions.load_shipped()
        except CatalogueError as problem:
            raise CommandError(str(problem)) from problem
        new = [item for item in loaded if not item.was_there]
        if options["verbosity"] > 1:
            for item in loaded:
                state = "there" if item.was_there else "loaded"
                self.stdout.write(f"{state:7} {item.what} ({item.rows} rows, SHA-256 {item.digest[:16]}…)")
        rows = sum(item.rows for item in loaded)
        self.stdout.write(f"Catalogues: {len(loaded)} files with {rows} rows, {len(new)} new.")
