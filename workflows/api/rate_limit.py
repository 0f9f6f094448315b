"""Rate limit of API tokens (docs/reference/api.md#rate-limits)."""

from typing import Any

from django.conf import settings
from limits import RateLimitItemPerMinute
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from workflows.models import ApiToken
from workflows.services.rate_limits import rate_wait


class TokenRateThrottle(BaseThrottle):
    """Limit of the requests of one token per minute: its own limit, or API_RATE_LIMIT_PER_MINUTE."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """Errors: Throttled, with the seconds after which the client may send again."""
        token: ApiToken | None = getattr(request.user, "token", None)
        if token is None:
            return True
        per_minute = token.rate_limit_per_minute or settings.API_RATE_LIMIT_PER_MINUTE
        if not per_minute:
            return True
        wait = rate_wait(RateLimitItemPerMinute(per_minute), "api-token", str(token.id))
        if not wait:
            return True
        raise Throttled(
            wait=wait,
            detail=f"The token {token.name} may send {per_minute} requests per minute. Send the request again later.",
        )
