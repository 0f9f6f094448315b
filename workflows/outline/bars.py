"""Time bars of the outline: work, waits and retry delays of one step."""

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from workflows.outline.axis import Segment, TimeAxis, took_text
from workflows.outline.nodes import BRANCH, LOOP, TRY

WAITS = ("event.wait", "time.wait", "human.task")
CONTAINERS = (LOOP, BRANCH, TRY)
# A bar has at most this many attempts, the newest ones, because more of them cannot be seen.
SHOWN_ATTEMPTS = 40


@dataclass(frozen=True)
class StepRow:
    """One attempt of one step in one iteration, without its payloads."""

    path: str
    iteration: str
    attempt: int
    type: str
    status: str
    started_at: datetime
    ended_at: datetime | None = None
    next_attempt_at: datetime | None = None
    branch: str = ""
    error_category: str = ""
    error_code: str = ""
    child_id: uuid.UUID | None = None
    child_status: str = ""
    child_name: str = ""

    @property
    def has_failed(self) -> bool:
        return self.status in ("FAILED", "RETRY_SCHEDULED")


def end_of(row: StepRow, now: datetime) -> datetime:
    """Return the end of an attempt. An attempt that waits for its retry ends at the retry, or now."""
    if row.status == "RETRY_SCHEDULED":
        return now if row.next_attempt_at is None else min(now, row.next_attempt_at)
    return row.ended_at or now


def busy_spans(
    rows: Iterable[StepRow],
    now: datetime,
    *,
    waits_since: datetime | None = None,
    working_loops: Collection[str] = (),
) -> Iterator[tuple[datetime, datetime]]:
    """Return the times in which a step worked or was about to be retried. Waits and control steps do not count.

    `working_loops`: paths of loops that count as a whole, because the rows of their other iterations are not known.
    """
    for row in rows:
        if row.type not in (*WAITS, *CONTAINERS) or row.path in working_loops:
            yield row.started_at, end_of(row, waits_since or now)


def bar_of(
    rows: Sequence[StepRow], axis: TimeAxis, now: datetime, *, is_caught: bool, waits_since: datetime | None = None
) -> Iterator[Segment]:
    """Return the pieces of the bar of one step. `rows` are its attempts in one iteration, oldest first.

    The bar of a caught error is not red, because red means that the run failed or may fail here. `waits_since`: the
    time since which an action waits for a decision about its outcome.
    """
    shown = rows[-SHOWN_ATTEMPTS:]
    for row, following in [*pairwise(shown), *((row, None) for row in shown[-1:])]:
        ended = row.ended_at or now
        took = took_text((ended - row.started_at).total_seconds())
        if row.type in WAITS:
            yield axis.segment("p", row.started_at, ended, f"Waited {took}")
        elif waits_since is not None and row.ended_at is None:
            yield axis.segment("w", row.started_at, waits_since)
            yield axis.segment("p", waits_since, now, f"Waited {took_text((now - waits_since).total_seconds())}")
        elif row.has_failed and not is_caught:
            yield axis.segment("bad", row.started_at, ended, f"Attempt {row.attempt}: failed after {took}")
        else:
            yield axis.segment(
                "w", row.started_at, ended, f"Attempt {row.attempt}: {took}" if row.attempt > 1 else took
            )
        if row.status == "RETRY_SCHEDULED":
            until = following.started_at if following is not None else now
            delay = took_text((until - ended).total_seconds())
            yield axis.segment("y", ended, until, f"Retry delay {delay}")
