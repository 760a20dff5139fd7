"""How fast one credential may ask: a token bucket each for reads and writes.

Buckets lie in the cache; with the default cache each server process keeps its own, which lets a client have at most as
many times the rate as there are processes. An address is that of the connection, unless METERPROOF_PROXIES says how
many proxies stand before us: anybody can send X-Forwarded-For. Headers: draft-ietf-httpapi-ratelimit-headers.
"""

import math
from dataclasses import dataclass

from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from compliance.accounts.models import ApiKey
from compliance.jobs import clock

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Bucket:
    """`rate` requests a second on average, up to `burst` at once."""

    name: str
    rate: float
    burst: int

    @property
    def seconds_to_fill(self) -> int:
        """How long an empty bucket takes to be full."""
        return math.ceil(self.burst / self.rate)


WRITES = Bucket("writes", rate=60, burst=120)  # 60 batches of 1,000 events a second are more than the ledger takes
READS = Bucket("reads", rate=200, burst=600)  # a monitor fetching tiles comes in bursts


class PerCredential(BaseThrottle):
    """Takes one token for each request from the bucket of its credential, or of its address if it has none."""

    def __init__(self) -> None:
        self.bucket = READS
        self.left = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:
        self.bucket = READS if request.method in _SAFE else WRITES
        who = f"key:{request.user.pk}" if isinstance(request.user, ApiKey) else f"address:{self.get_ident(request)}"
        place = f"api.bucket.{self.bucket.name}.{who}"
        now = clock.now().timestamp()
        tokens, since = cache.get(place, (float(self.bucket.burst), now))
        tokens = min(float(self.bucket.burst), tokens + max(0.0, now - since) * self.bucket.rate)
        is_allowed = tokens >= 1
        self.left = tokens - 1 if is_allowed else tokens
        cache.set(place, (self.left, now), timeout=self.bucket.seconds_to_fill + 1)
        return is_allowed

    def wait(self) -> float:
        return max(0.0, (1 - self.left) / self.bucket.rate)

    def headers(self) -> dict[str, str]:
        """What the client may know of its bucket."""
        bucket = self.bucket
        return {
            "RateLimit-Policy": f'"{bucket.name}";q={bucket.burst};w={bucket.seconds_to_fill}',
            "RateLimit": f'"{bucket.name}";r={int(self.left)};t={math.ceil((bucket.burst - self.left) / bucket.rate)}',
        }
