"""Exponential back-off: the pause before failed work is tried again."""

import random

# Limit of the exponent. 2**32 times any first pause is longer than every limit. A larger exponent could not be
# converted to float.
LARGEST_EXPONENT = 32


def backoff_seconds(failures: int, *, first: float, longest: float, with_jitter: bool = False) -> float:
    """Return the pause after this number of failures in a row.

    The first pause is `first`. Each further pause is twice as long as the one before, up to `longest`. Jitter then
    chooses a pause between 50 % and 100 % of this length. Work that failed together is thus not tried again together.

    Units: seconds; `failures` counts from 1 and includes the last failure.
    """
    whole = min(longest, first * 2 ** min(max(failures - 1, 0), LARGEST_EXPONENT))
    return float(whole * random.uniform(0.5, 1) if with_jitter else whole)  # noqa: S311  not for secrets
