"""Exponential back-off, for everything outside the engine that is tried again."""

import pytest

from workflows import backoff
from workflows.backoff import backoff_seconds


def test_pause_doubles_up_to_its_limit() -> None:
    pauses = [backoff_seconds(failures, first=0.5, longest=5) for failures in range(1, 8)]
    assert pauses == [0.5, 1, 2, 4, 5, 5, 5]


@pytest.mark.parametrize("failures", [10**3, 10**6])
def test_pause_stays_finite_after_any_number_of_failures(failures: int) -> None:
    assert backoff_seconds(failures, first=1.0, longest=30.0) == 30


def test_jitter_keeps_between_half_and_all_of_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = {backoff_seconds(3, first=2, longest=300, with_jitter=True) for _ in range(200)}
    assert len(pauses) > 150
    assert all(4 <= pause <= 8 for pause in pauses)
    monkeypatch.setattr(backoff.random, "uniform", min)
    assert backoff_seconds(3, first=2, longest=300, with_jitter=True) == 4
