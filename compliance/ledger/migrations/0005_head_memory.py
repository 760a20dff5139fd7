import compliance.ledger.fields
from compliance.ledger.partitions import PostgresOnly
from django.db import migrations


class Migration(migrations.Migration):
    """What the fold over a chain remembers stands in the row that every append to it locks and writes anyway."""

    dependencies = [("ledger", "0004_working_state_to_jobs")]

    operations = [
        migrations.AddField("head", "memory", compliance.ledger.fields.BytesField(default=b"")),
        # Each row is written again and again: with room on its page the index need not be told.
        PostgresOnly(
            "ALTER TABLE ledger_head SET (fillfactor = 50)",
            reverse_sql="ALTER TABLE ledger_head RESET (fillfactor)",
        ),
    ]
