"""A log, organisations and credentials, and a client that sends what a machine would send."""

import pytest
from django.core.cache import cache

from tests.api.machines import Machine, machine


@pytest.fixture(autouse=True)
def full_buckets():
    """No test inherits another one's rate limit."""
    cache.clear()


@pytest.fixture
def admin(log) -> Machine:
    """The administrator's key, with the scopes that bootstrap gives it."""
    return machine(
        "platform",
        "organisations:write",
        "api-keys:write",
        "checks:run",
        "reports:write",
        "reports:read",
        "events:read",
    )
