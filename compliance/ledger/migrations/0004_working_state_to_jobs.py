from django.db import migrations, models

SIGN_OF_LIFE = migrations.RunSQL(
    "INSERT INTO jobs_signoflife (name, at) SELECT 'ledger', seen_at FROM ledger_log_state",
    "UPDATE ledger_log_state SET seen_at = (SELECT at FROM jobs_signoflife WHERE name = 'ledger')",
)
WAITING = migrations.RunSQL(
    "INSERT INTO jobs_waiting (name, since, attempts, next_try_at, failure, alarmed_at) "
    "SELECT 'ledger.anchor', pending_since, attempts, COALESCE(next_try_at, pending_since), failure, alarmed_at "
    "FROM ledger_anchoring WHERE pending_since IS NOT NULL",
    migrations.RunSQL.noop,  # it begins to wait anew
)


class Migration(migrations.Migration):
    """What is not derived from the log leaves the ledger's tables."""

    dependencies = [("ledger", "0003_plain_storage"), ("jobs", "0002_signoflife_waiting")]

    operations = [
        migrations.AlterField("logstate", "seen_at", models.DateTimeField(null=True)),  # so that it can come back
        SIGN_OF_LIFE,
        WAITING,
        migrations.RemoveField("logstate", "seen_at"),
        migrations.RemoveField("anchoring", "pending_since"),
        migrations.RemoveField("anchoring", "attempts"),
        migrations.RemoveField("anchoring", "next_try_at"),
        migrations.RemoveField("anchoring", "failure"),
        migrations.RemoveField("anchoring", "alarmed_at"),
    ]
