from compliance.ledger.partitions import PostgresOnly
from django.db import migrations


class Migration(migrations.Migration):
    """Hashes, and receipts that are mostly hashes, do not get smaller: trying costs more than writing them."""

    dependencies = [("ledger", "0002_time_tokens")]

    operations = [
        PostgresOnly(
            "ALTER TABLE ledger_receipt ALTER COLUMN envelope SET STORAGE EXTERNAL;"
            "ALTER TABLE ledger_batch ALTER COLUMN event_hashes SET STORAGE EXTERNAL",
            reverse_sql=migrations.RunSQL.noop,
        ),
    ]
