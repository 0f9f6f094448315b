"""An action's own timeout: what returns in time is passed on, what does not is left behind."""

import threading

import pytest

from workflows.temporal.activities.deadline import DeadlinePassed, within


def test_values_and_errors_are_passed_on() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)


def test_what_does_not_return_in_time_is_left_behind() -> None:
    release = threading.Event()
    with pytest.raises(DeadlinePassed, match=r"within 0.05 s"):
        within(0.05, lambda: release.wait(30))
    release.set()
