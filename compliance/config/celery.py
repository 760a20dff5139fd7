"""Celery application: `celery -A compliance.config worker`. Its tasks only say which job to look at."""

import os

from celery import Celery
from celery.signals import worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance.config.settings.embedded")
app = Celery("meterproof")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["compliance.jobs"])
app.conf.beat_schedule = {
    "jobs.tick": {"task": "jobs.tick", "schedule": 1.0, "options": {"expires": 5}},
    "jobs.tick.waits": {"task": "jobs.tick", "kwargs": {"waits": True}, "schedule": 1.0, "options": {"expires": 5}},
}


@worker_init.connect
def refuse_or_begin(**_: object) -> None:
    """Ask every room whether it is safe to begin; an exception ends the worker before it takes a message."""
    from compliance.jobs import registry

    registry.start()
