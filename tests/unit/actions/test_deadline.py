"""Timeout of an action inside its activity."""

import threading

import pytest

from workflows.temporal.activities.deadline import DeadlinePassed, within


def test_values_and_errors_are_passed_on() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)


def test_action_that_exceeds_its_timeout_is_left_behind() -> None:
    release = threading.Event()
    with pytest.raises(DeadlinePassed, match=r"within 0.05 s"):
        within(0.05, lambda: release.wait(30))
    release.set()
