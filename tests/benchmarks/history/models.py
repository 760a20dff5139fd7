"""An event as a plain model, with django-simple-history's record of every save."""

from django.db import models
from simple_history.models import HistoricalRecords


class HistoricalEvent(models.Model):
    """As much of an event as its entry has columns."""

    subject = models.CharField(max_length=180, db_index=True)
    seq = models.IntegerField()
    event_id = models.CharField(max_length=64, unique=True)
    body = models.JSONField()
    recorded_at = models.DateTimeField()
    history = HistoricalRecords()

    class Meta:
        app_label = "history"

    def __str__(self) -> str:
        return f"{self.subject}/{self.seq}"
