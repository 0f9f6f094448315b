"""Exponential back-off: the pause before something that failed is tried again."""

import random

# 2**32 times any first pause is longer than every limit; larger exponents could not be converted to float.
LARGEST_EXPONENT = 32


def backoff_seconds(failures: int, *, first: float, longest: float, with_jitter: bool = False) -> float:
    """Return the pause after this number of failures in a row: `first`, then twice as long each time, up to `longest`.

    Jitter chooses a pause between half and all of this length. Work that failed together is then not tried together.

    Units: seconds; `failures` counts from 1 and includes the last failure.
    """
    whole = min(longest, first * 2 ** min(max(failures - 1, 0), LARGEST_EXPONENT))
    return float(whole * random.uniform(0.5, 1) if with_jitter else whole)  # noqa: S311  not for secrets
