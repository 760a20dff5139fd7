"""Import a framework, a list of requirements or a mapping set that somebody has the right to use here."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from compliance.frameworks import actions
from compliance.frameworks.catalogue import CSV_COLUMNS, CatalogueError, ListHead, read_file

LIST_OPTIONS = ("key", "title", "edition", "publisher")


class Command(BaseCommand):
    help = (
        "Import a catalogue file: YAML or JSON as described in docs/frameworks.md, or a CSV list with the columns "
        f"{', '.join(CSV_COLUMNS)} (only id and title must be filled)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--check", action="store_true", help="only say whether it could be imported")
        group = parser.add_argument_group("for a CSV list")
        group.add_argument("--key", help="short name, e.g. uk-cpa-esme")
        group.add_argument("--title", help="title of the document")
        group.add_argument("--edition", help="version of the document")
        group.add_argument("--publisher")
        group.add_argument("--url", default="")
        group.add_argument("--licence-note", default="", dest="licence_note")
        group.add_argument("--supersedes", default="", metavar="KEY@EDITION")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        head = None
        if path.suffix.lower() == ".csv":
            if missing := [f"--{name}" for name in LIST_OPTIONS if not options[name]]:
                raise CommandError(f"{path.name}: a CSV list needs {', '.join(missing)}")
            names = (*LIST_OPTIONS, "url", "licence_note", "supersedes")
            head = ListHead(**{name: options[name] for name in names})
        try:
            file = read_file(path, list_head=head)
            with transaction.atomic():
                loaded = actions.load(file)
                if options["check"]:
                    transaction.set_rollback(True)
        except CatalogueError as problem:
            raise CommandError(str(problem)) from problem
        if options["check"]:
            self.stdout.write(f"{loaded.name} is good: {loaded.what}, {loaded.rows} rows. Nothing was written.")
        elif loaded.was_there:
            self.stdout.write(f"{loaded.what} was loaded already, with the same content.")
        else:
            self.stdout.write(f"Imported {loaded.what}: {loaded.rows} rows, SHA-256 {loaded.digest}.")
