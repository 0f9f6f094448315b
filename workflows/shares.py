"""Shares in percent. All pages and messages round them here, so that they agree."""

from decimal import ROUND_HALF_UP, Decimal

ONE, TENTH = Decimal(1), Decimal("0.1")


def percent(part: int, whole: int, *, unit: Decimal = ONE) -> Decimal:
    """Return the share of `part`, rounded to the nearest `unit` of a percent. The share of nothing is 0.

    Only a share that is exactly 0 or 100 is shown so. A reader must see that one run of many has failed.
    """
    if not whole:
        return 0 * unit
    rounded = (100 * Decimal(part) / whole).quantize(unit, ROUND_HALF_UP)
    return rounded if part in (0, whole) else min(max(rounded, unit), 100 - unit)
