"""People, organisations and keys."""

from django.contrib.auth.models import AbstractUser


class Person(AbstractUser):
    """Somebody who signs in."""
