"""What the interface itself remembers: answers to requests that must not be done twice."""

from django.db import models


class AnsweredRequest(models.Model):
    """The answer to a request with an Idempotency-Key, written in the transaction of its effect.

    `sealed` is the body, encrypted under a key derived from the caller's own credential: an answer may hold a secret
    that the server must not be able to read again.
    """

    owner = models.BigIntegerField()
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField()
    headers = models.JSONField(default=dict)
    sealed = models.BinaryField()
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="api_one_answer_per_key")]

    def __str__(self) -> str:
        return self.key
