"""When an author's retry policy repeats an action, and when. The workflow and the activity ask this same function.

The activity needs the answer to project the attempt as RETRY_SCHEDULED, the workflow to start the timer: both compute it
from the same arguments, so that no message has to carry it.
"""

import hashlib

from workflows.engine.definition import RetryPolicy
from workflows.engine.errors import NOT_RETRIED

MAX_DELAY_MS = 30 * 24 * 3600 * 1000


def retry_delay_ms(policy: RetryPolicy | None, *, attempt: int, category: str, seed: str) -> int | None:
    """Milliseconds until the attempt after `attempt`, or None when there is none.

    Jitter spreads the delay over 50 % to 100 % of its length, taken from the hash of `seed` and the attempt: many runs that
    failed together come back apart, and a replay computes the same value.
    """
    if policy is None or attempt >= policy.max_attempts:
        return None
    retried = category in policy.retry_on if policy.retry_on is not None else category not in NOT_RETRIED
    if not retried:
        return None
    limit = MAX_DELAY_MS if policy.max_delay_ms is None else min(policy.max_delay_ms, MAX_DELAY_MS)
    factor = min(policy.backoff_multiplier, 100.0) ** min(attempt - 1, 64)
    delay = min(float(limit), policy.backoff_ms * factor)
    if policy.jitter:
        digest = hashlib.sha256(f"{seed}#{attempt}".encode()).digest()
        delay *= 0.5 + int.from_bytes(digest[:4]) / 2**33
    return int(delay)
