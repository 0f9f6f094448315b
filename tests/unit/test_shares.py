"""Rounding of shares. Source: docs/reference/screens.md#times"""

from decimal import Decimal

import pytest

from workflows.shares import ONE, TENTH, percent


@pytest.mark.parametrize(
    ("part", "whole", "unit", "shown"),
    [
        (41, 49, ONE, "84"), (1, 8, ONE, "13"), (0, 0, ONE, "0"), (0, 7, ONE, "0"), (7, 7, ONE, "100"),
        (1, 100_000, ONE, "1"), (99_999, 100_000, ONE, "99"), (1999, 2000, TENTH, "99.9"), (1, 9999, TENTH, "0.1"),
        (2, 3, TENTH, "66.7"), (3, 3, TENTH, "100.0"), (0, 3, TENTH, "0.0"),
    ],
)  # fmt: skip
def test_share_is_rounded_to_the_nearest_and_only_an_exact_one_is_0_or_100(
    part: int, whole: int, unit: Decimal, shown: str
) -> None:
    assert str(percent(part, whole, unit=unit)) == shown
