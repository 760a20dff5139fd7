"""Tables of the ledger: docs/ledger.md says what each column promises.

The stored bytes (`Entry.body`, `Batch.envelope`, `Checkpoint.note`, `Receipt.envelope`) are the truth; every column
beside them is an index that `manage.py fsck` compares with the bytes. `INSERT_ONLY` tables carry guards
(`guards.py`), are written by `append`, `integrate` and `publish` alone and refer to each other by key without foreign
keys: rows of one subject must be able to live on another machine than those of the next. Every column here is one that
`fsck` can tell from the log; what the worker only remembers stands in the tables of `jobs`.
"""

from typing import ClassVar

from django.db import models

from compliance.ledger.fields import BytesField

SUBJECT_KEY_BYTES = 16  # prefix of SHA-256 of the subject text: 2**64 subjects before two are likely to meet
HASH_BYTES = 32


class Entry(models.Model):
    """One leaf of the log: `body` is the canonical entry, everything else is read from it.

    Hash-partitioned by subject on PostgreSQL. The position in the log stands in `LeafRange`: an UPDATE of this table
    for each indexed entry would double it.
    """

    pk = models.CompositePrimaryKey("subject", "seq")
    subject = BytesField(max_length=SUBJECT_KEY_BYTES)
    seq = models.IntegerField()
    prev = BytesField(max_length=HASH_BYTES, null=True)
    hash = BytesField(max_length=HASH_BYTES)
    body = BytesField()
    batch = BytesField(max_length=HASH_BYTES)
    index = models.IntegerField()
    recorded_at = models.DateTimeField()

    class Meta:
        db_table = "ledger_entry"
        indexes: ClassVar = [models.Index(fields=["batch", "index"], name="ledger_entry_batch_index")]

    def __str__(self) -> str:
        return f"{self.subject.hex()}/{self.seq}"


class Batch(models.Model):
    """A signed batch as it came: `envelope` is the canonical DSSE envelope, `id` its SHA-256.

    `event_hashes` is the concatenation of the leaf hashes of all its events, also of those refused or recorded
    before, so that the path of each to the signed root can be given for ever.
    """

    id = BytesField(primary_key=True, max_length=HASH_BYTES)
    payload_sha256 = BytesField(max_length=HASH_BYTES, unique=True)
    envelope = BytesField()
    event_hashes = BytesField()

    class Meta:
        db_table = "ledger_batch"

    def __str__(self) -> str:
        return self.id.hex()


class EventKey(models.Model):
    """Idempotency for ever: which entry holds the event that an author called by this id.

    `key` is a 16-byte prefix of SHA-256(author ":" event id); an author who finds two ids that meet only harms himself.
    """

    key = BytesField(primary_key=True, max_length=16)
    event_hash = BytesField(max_length=HASH_BYTES)
    subject = BytesField(max_length=SUBJECT_KEY_BYTES)
    seq = models.IntegerField()

    class Meta:
        db_table = "ledger_event_key"

    def __str__(self) -> str:
        return self.key.hex()


class Receipt(models.Model):
    """The signed promise given for `batch` from position `first` on, as it was given."""

    pk = models.CompositePrimaryKey("batch", "first")
    batch = BytesField(max_length=HASH_BYTES)
    first = models.IntegerField()
    envelope = BytesField()

    class Meta:
        db_table = "ledger_receipt"

    def __str__(self) -> str:
        return f"{self.batch.hex()}/{self.first}"


class LeafRange(models.Model):
    """Where a batch lies in the log: its entries, in the order of their `index`, are leaves `first_index` and
    following.
    """

    first_index = models.BigIntegerField(primary_key=True)
    count = models.IntegerField()
    batch = BytesField(max_length=HASH_BYTES, unique=True)

    class Meta:
        db_table = "ledger_leaf_range"

    def __str__(self) -> str:
        return f"{self.first_index}+{self.count}"


class Checkpoint(models.Model):
    """A signed note that was published, verbatim."""

    size = models.BigIntegerField(primary_key=True)
    note = models.TextField()

    class Meta:
        db_table = "ledger_checkpoint"

    def __str__(self) -> str:
        return str(self.size)


class TimeToken(models.Model):
    """An RFC 3161 response over the bytes of `note`, a published checkpoint over `size` entries."""

    number = models.BigIntegerField(primary_key=True)  # from 1 without gap: one that vanishes is missed
    size = models.BigIntegerField(db_index=True)
    note = models.TextField()
    token = BytesField()

    class Meta:
        db_table = "ledger_time_token"

    def __str__(self) -> str:
        return str(self.number)


class Anchoring(models.Model):
    """The one row that says how many tokens there are."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    tokens = models.BigIntegerField(default=0)

    class Meta:
        db_table = "ledger_anchoring"
        constraints: ClassVar = [models.CheckConstraint(condition=models.Q(id=1), name="ledger_anchoring_one_row")]

    def __str__(self) -> str:
        return str(self.tokens)


class Head(models.Model):
    """Last entry of a chain, and the row that is locked to append to it. `seq` is -1 before the first entry.

    `memory` belongs to the room whose chain it is: what it must remember of the chain to judge the next entry. Empty if
    no room keeps one. It can be made again from the entries, and the room compares it with them in an fsck.
    """

    subject = BytesField(primary_key=True, max_length=SUBJECT_KEY_BYTES)
    seq = models.IntegerField()
    hash = BytesField(max_length=HASH_BYTES)
    recorded_at = models.DateTimeField()
    memory = BytesField(default=b"")

    class Meta:
        db_table = "ledger_head"

    def __str__(self) -> str:
        return f"{self.subject.hex()}/{self.seq}"


class LogState(models.Model):
    """The one row that says how far the log was integrated."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    size = models.BigIntegerField()
    root = BytesField(max_length=HASH_BYTES)
    right_edge = BytesField()

    class Meta:
        db_table = "ledger_log_state"
        constraints: ClassVar = [models.CheckConstraint(condition=models.Q(id=1), name="ledger_log_state_one_row")]

    def __str__(self) -> str:
        return str(self.size)


class Pending(models.Model):
    """A committed batch that has no place in the log yet. The row goes when it is integrated."""

    batch = BytesField(primary_key=True, max_length=HASH_BYTES)
    recorded_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "ledger_pending"

    def __str__(self) -> str:
        return self.batch.hex()


INSERT_ONLY: tuple[type[models.Model], ...] = (Entry, Batch, EventKey, Receipt, LeafRange, Checkpoint, TimeToken)
