"""Rate limit of API tokens, counted in Redis (docs/reference/api.md#rate-limits).

The library `limits` counts in one Lua script, so requests of several web processes cannot pass the limit together.
"""

import logging
import math
import time
from functools import cache
from typing import Any

from django.conf import settings
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from workflows.models import ApiToken

logger = logging.getLogger(__name__)

REDIS_TIMEOUT_SECONDS = 0.5
# After an error of Redis, the requests of this time are not counted. So an outage does not delay each of them.
UNCOUNTED_SECONDS = 5.0


@cache
def _limiter(url: str) -> SlidingWindowCounterRateLimiter:
    timeouts = {"socket_timeout": REDIS_TIMEOUT_SECONDS, "socket_connect_timeout": REDIS_TIMEOUT_SECONDS}
    return SlidingWindowCounterRateLimiter(storage_from_string(url, wrap_exceptions=True, **timeouts))


class TokenRateThrottle(BaseThrottle):
    """Limit of the requests of one token per minute: its own limit, or API_RATE_LIMIT_PER_MINUTE.

    While Redis does not respond, no request is refused, because events must be accepted at any time.
    """

    _uncounted_until = 0.0

    def allow_request(self, request: Request, view: Any) -> bool:
        """Errors: Throttled, with the seconds after which the client may send again."""
        token: ApiToken | None = getattr(request.user, "token", None)
        if token is None:
            return True
        per_minute = token.rate_limit_per_minute or settings.API_RATE_LIMIT_PER_MINUTE
        if not per_minute or time.monotonic() < TokenRateThrottle._uncounted_until:
            return True
        limit = RateLimitItemPerMinute(per_minute)
        try:
            limiter = _limiter(settings.REDIS_URL)
            if limiter.hit(limit, "api-token", str(token.id)):
                return True
            reset_at = limiter.get_window_stats(limit, "api-token", str(token.id)).reset_time
        except StorageError as error:
            TokenRateThrottle._uncounted_until = time.monotonic() + UNCOUNTED_SECONDS
            logger.warning("Redis does not respond, so requests of API tokens are not counted: %s", error)
            return True
        raise Throttled(
            wait=max(1, math.ceil(reset_at - time.time())),
            detail=f"The token {token.name} may send {per_minute} requests per minute. Send the request again later.",
        )
