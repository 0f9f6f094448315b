"""Outages are logged at their begin and end, and retried with growing pauses."""

import logging
import threading

import pytest

from ingress.stream.outage import Outage


class Pauses(threading.Event):
    """Event that records the requested waiting times and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0)
        return False


def test_outage_is_logged_once_at_begin_and_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "ingress.stream.outage")
    outage = Outage("Redis", Pauses())
    for _ in range(2):
        outage.end()
        for _ in range(5):
            outage.wait(RuntimeError("refused"))
        outage.end()
    logged = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert logged == 2 * [
        (logging.ERROR, "Redis is unavailable; an operator must check the server: refused"),
        (logging.WARNING, "Redis is available again after 5 failed attempts"),
    ]


def test_pauses_double_up_to_ten_seconds_and_start_again_after_a_success() -> None:
    stop = Pauses()
    outage = Outage("Redis", stop)
    for _ in range(9):
        outage.wait(RuntimeError())
    outage.end()
    outage.wait(RuntimeError())
    assert stop.waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10, 0.2])
