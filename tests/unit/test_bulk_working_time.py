"""Time in which a bulk job sent its requests, without its pauses."""

from datetime import UTC, datetime, timedelta

import pytest

from workflows.models import BulkJob, Command
from workflows.services.bulk.selectors import working_time

BEGIN = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)


def minute(number: float) -> datetime:
    return BEGIN + timedelta(minutes=number)


def command(operation: str, at: float, *, ended: float | None = None, state: str = "observed") -> Command:
    """Return a command of a job. `ended`: minute in which the job ended that the command started."""
    return Command(
        payload={"operation": operation}, state=state, requested_at=minute(at), decided_at=minute(at),
        observed_at=minute(at if ended is None else ended),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("commands", "ended_at", "minutes"),
    [
        ([command("start", 0, ended=10)], 10, 10),
        ([command("resume", 8), command("pause", 1), command("start", 0, ended=10)], 10, 3),
        ([command("start", 0, ended=4), command("retry_failures", 60, ended=61)], 61, 5),
        # Failed requests are repeated while the job goes on, a refused pause, and a preview change nothing.
        ([command("start", 0, ended=4), command("retry_failures", 2), command("pause", 3, state="refused")], 4, 4),
        ([command("preview", -5), command("start", 0, ended=2)], 2, 2),
        # The job is paused, and then stopped.
        ([command("start", 0, ended=9), command("pause", 1), command("stop", 9)], 9, 1),
        ([], 6, 6),
    ],
)
def test_only_the_time_of_work_counts(commands: list[Command], ended_at: float, minutes: float) -> None:
    job = BulkJob(started_at=minute(0), ended_at=minute(ended_at))
    assert working_time(job, commands) == timedelta(minutes=minutes)
    assert working_time(BulkJob(started_at=minute(0)), commands) is None
