"""Rates that are counted in Redis, for all processes together (docs/reference/api.md#rate-limits).

The library `limits` counts in one Lua script, so requests of several processes cannot pass a limit together.
"""

import logging
import math
import time
from functools import cache
from typing import Any, cast

from django.conf import settings
from limits import RateLimitItem
from limits.errors import StorageError
from limits.storage import SlidingWindowCounterSupport, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

logger = logging.getLogger(__name__)

REDIS_TIMEOUT_SECONDS = 0.5
# After an error of Redis, nothing is counted for this time. So an outage does not delay each request.
UNCOUNTED_SECONDS = 5.0


class _Outage:
    until = 0.0


@cache
def _limiter(url: str) -> SlidingWindowCounterRateLimiter:
    timeouts: dict[str, Any] = {
        "socket_timeout": REDIS_TIMEOUT_SECONDS, "socket_connect_timeout": REDIS_TIMEOUT_SECONDS
    }  # fmt: skip
    return SlidingWindowCounterRateLimiter(storage_from_string(url, wrap_exceptions=True, **timeouts))


def rate_wait(limit: RateLimitItem, *names: str, cost: int = 1) -> int:
    """Count `cost` under a limit and return 0, or count nothing and return the whole seconds until the next attempt.

    A cost is accepted if at least one unit is free. Otherwise small requests could keep a large one out for ever. The
    units above the limit are counted too, so the next requests wait longer. A cost above the limit is never accepted.

    While Redis does not respond, the result is 0, because events must be accepted at any time.
    """
    if time.monotonic() < _Outage.until:
        return 0
    try:
        limiter = _limiter(settings.REDIS_URL)
        storage = cast(SlidingWindowCounterSupport, limiter.storage)
        most, key = limit.amount + cost - 1, limit.key_for(*names)
        if cost <= limit.amount and storage.acquire_sliding_window_entry(key, most, limit.get_expiry(), cost):
            return 0
        reset_at = limiter.get_window_stats(limit, *names).reset_time
    except StorageError as error:
        _Outage.until = time.monotonic() + UNCOUNTED_SECONDS
        logger.warning("Redis does not respond, so rates are not counted: %s", error)
        return 0
    return max(1, math.ceil(reset_at - time.time()))
