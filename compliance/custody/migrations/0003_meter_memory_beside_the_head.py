from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_AS_BYTES = {"postgresql": "convert_to({}, 'UTF8')", "sqlite": "CAST({} AS BLOB)"}
_MEMORY = """'{"state":' || m.memory || ',"last_type":"' || m.last_type || '"}'"""


def move_memory(_apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """What stood in the row of a meter goes to the head of its chain."""
    spelled = _AS_BYTES[schema_editor.connection.vendor].format(_MEMORY)
    of_the_chain = "FROM custody_meter m WHERE m.subject_key = ledger_head.subject"
    schema_editor.execute(
        f"UPDATE ledger_head SET memory = (SELECT {spelled} {of_the_chain}) "  # noqa: S608 (words of ours)
        f"WHERE EXISTS (SELECT 1 {of_the_chain})"
    )


class Migration(migrations.Migration):
    """What every entry changes leaves the table of meters: the head of its chain says it, and keeps the memory.

    The way back makes the columns empty: manage.py rebuild_projections fills them.
    """

    dependencies = [("custody", "0002_names_are_found_by_alias"), ("ledger", "0005_head_memory")]

    operations = [
        migrations.RunPython(move_memory, migrations.RunPython.noop),
        migrations.RemoveField("meter", "last_seq"),
        migrations.RemoveField("meter", "last_type"),
        migrations.RemoveField("meter", "last_occurred_at"),
        migrations.RemoveField("meter", "last_recorded_at"),
        migrations.RemoveField("meter", "memory"),
    ]
