"""Settings, URLs and entry points. Imported by no other room."""

from compliance.config.celery import app as celery

__all__ = ["celery"]
