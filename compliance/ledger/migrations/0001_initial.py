import compliance.ledger.fields
from compliance.ledger.partitions import CreatePartitionedModel, PostgresOnly
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Batch',
            fields=[
                ('id', compliance.ledger.fields.BytesField(max_length=32, primary_key=True, serialize=False)),
                ('payload_sha256', compliance.ledger.fields.BytesField(max_length=32, unique=True)),
                ('envelope', compliance.ledger.fields.BytesField()),
                ('event_hashes', compliance.ledger.fields.BytesField()),
            ],
            options={
                'db_table': 'ledger_batch',
            },
        ),
        migrations.CreateModel(
            name='Checkpoint',
            fields=[
                ('size', models.BigIntegerField(primary_key=True, serialize=False)),
                ('note', models.TextField()),
            ],
            options={
                'db_table': 'ledger_checkpoint',
            },
        ),
        migrations.CreateModel(
            name='EventKey',
            fields=[
                ('key', compliance.ledger.fields.BytesField(max_length=16, primary_key=True, serialize=False)),
                ('event_hash', compliance.ledger.fields.BytesField(max_length=32)),
                ('subject', compliance.ledger.fields.BytesField(max_length=16)),
                ('seq', models.IntegerField()),
            ],
            options={
                'db_table': 'ledger_event_key',
            },
        ),
        migrations.CreateModel(
            name='Head',
            fields=[
                ('subject', compliance.ledger.fields.BytesField(max_length=16, primary_key=True, serialize=False)),
                ('seq', models.IntegerField()),
                ('hash', compliance.ledger.fields.BytesField(max_length=32)),
                ('recorded_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'ledger_head',
            },
        ),
        migrations.CreateModel(
            name='LeafRange',
            fields=[
                ('first_index', models.BigIntegerField(primary_key=True, serialize=False)),
                ('count', models.IntegerField()),
                ('batch', compliance.ledger.fields.BytesField(max_length=32, unique=True)),
            ],
            options={
                'db_table': 'ledger_leaf_range',
            },
        ),
        migrations.CreateModel(
            name='Pending',
            fields=[
                ('batch', compliance.ledger.fields.BytesField(max_length=32, primary_key=True, serialize=False)),
                ('recorded_at', models.DateTimeField(db_index=True)),
            ],
            options={
                'db_table': 'ledger_pending',
            },
        ),
        migrations.CreateModel(
            name='Receipt',
            fields=[
                ('pk', models.CompositePrimaryKey('batch', 'first', blank=True, editable=False, primary_key=True, serialize=False)),
                ('batch', compliance.ledger.fields.BytesField(max_length=32)),
                ('first', models.IntegerField()),
                ('envelope', compliance.ledger.fields.BytesField()),
            ],
            options={
                'db_table': 'ledger_receipt',
            },
        ),
        CreatePartitionedModel(
            name='Entry',
            column='subject',
            fields=[
                ('pk', models.CompositePrimaryKey('subject', 'seq', blank=True, editable=False, primary_key=True, serialize=False)),
                ('subject', compliance.ledger.fields.BytesField(max_length=16)),
                ('seq', models.IntegerField()),
                ('prev', compliance.ledger.fields.BytesField(max_length=32, null=True)),
                ('hash', compliance.ledger.fields.BytesField(max_length=32)),
                ('body', compliance.ledger.fields.BytesField()),
                ('batch', compliance.ledger.fields.BytesField(max_length=32)),
                ('index', models.IntegerField()),
                ('recorded_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'ledger_entry',
                'indexes': [models.Index(fields=['batch', 'index'], name='ledger_entry_batch_index')],
            },
        ),
        migrations.CreateModel(
            name='LogState',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('size', models.BigIntegerField()),
                ('root', compliance.ledger.fields.BytesField(max_length=32)),
                ('right_edge', compliance.ledger.fields.BytesField()),
                ('seen_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'ledger_log_state',
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='ledger_log_state_one_row')],
            },
        ),
        # Heads change with every batch: room in the page lets PostgreSQL do so without touching an index (HOT).
        PostgresOnly("ALTER TABLE ledger_head SET (fillfactor = 70)", reverse_sql=migrations.RunSQL.noop),
    ]
