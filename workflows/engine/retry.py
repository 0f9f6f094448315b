"""Delay before the next attempt under an author's retry policy.

The activity needs the delay to project the attempt as RETRY_SCHEDULED. The workflow needs the delay to start the timer.
Both call this function with the same arguments, so no message has to carry the delay.
"""

import hashlib

from workflows.engine.definition import RetryPolicy
from workflows.engine.errors import NOT_RETRIED, Category

MAX_DELAY_MS = 30 * 24 * 3600 * 1000


def retry_delay_ms(
    policy: RetryPolicy | None, *, attempt: int, category: str, seed: str, code: str | None = None
) -> int | None:
    """Return the delay from the end of `attempt` to the next attempt, or None if there is no next attempt.

    `category` and `code` belong to the error of the attempt. An entry of `retryOn` can name a category or a code.

    Jitter reduces the delay to between 50 % and 100 % of its length. The reduction follows from a hash of `seed` and
    the attempt number. Many runs that failed together therefore retry at different times, and a replay computes the
    same delay.
    Units: milliseconds.
    """
    if policy is None or attempt >= policy.max_attempts:
        return None
    if not _is_retried(policy, category, code):
        return None
    limit = MAX_DELAY_MS if policy.max_delay_ms is None else min(policy.max_delay_ms, MAX_DELAY_MS)
    factor = min(policy.backoff_multiplier, 100.0) ** min(attempt - 1, 64)
    delay = min(float(limit), policy.backoff_ms * factor)
    if policy.jitter:
        digest = hashlib.sha256(f"{seed}#{attempt}".encode()).digest()
        delay *= 0.5 + int.from_bytes(digest[:4]) / 2**33
    return int(delay)


def _is_retried(policy: RetryPolicy, category: str, code: str | None) -> bool:
    if policy.retry_on is None:
        return category not in NOT_RETRIED
    if category in policy.retry_on:
        return True
    # The name of a category always means the category, even if an action uses the same text as an error code.
    return code is not None and code in policy.retry_on and code not in set(Category)
