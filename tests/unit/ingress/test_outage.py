"""An outage is told once at its begin and once at its end, and waited for with growing pauses."""

import logging
import threading

import pytest

from ingress.stream.outage import Outage


class Pauses(threading.Event):
    """Notes what it is asked to wait, and waits not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout or 0)
        return False


def test_it_is_told_once_however_long_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("Redis", Pauses())
    for _ in range(2):
        outage.end()
        for _ in range(5):
            outage.wait(RuntimeError("refused"))
        outage.end()
    told = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert told == 2 * [
        (logging.ERROR, "Redis is unavailable; an operator must check the server: refused"),
        (logging.WARNING, "Redis is available again after 5 failed attempts"),
    ]


def test_pauses_grow_up_to_ten_seconds_and_begin_anew() -> None:
    stop = Pauses()
    outage = Outage("Redis", stop)
    for _ in range(9):
        outage.wait(RuntimeError())
    outage.end()
    outage.wait(RuntimeError())
    assert stop.asked == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10, 0.2])
