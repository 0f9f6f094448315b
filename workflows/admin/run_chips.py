"""Chips of the run list: a link to the runs of each shown status, with their number."""

from dataclasses import dataclass

from workflows import status_marks
from workflows.admin.run_filters import STATUS, RunListForm, without
from workflows.selectors.run_list import MOST_COUNTED, OPEN, OPEN_SHOWN_STATUSES, SHOWN_STATUSES, StatusCounts
from workflows.statuses import RunStatus

# Chips of these statuses are shown only if there are such runs.
RARE = {RunStatus.STARTING.value, RunStatus.TERMINATED.value, RunStatus.TIMED_OUT.value}


@dataclass(frozen=True)
class Chip:
    """Link to the runs of one shown status. `count` is None if it took too long, and a minimum with `is_part`."""

    word: str
    icon: str
    tone: str
    query: str
    is_chosen: bool
    count: int | None
    is_part: bool = False

    @property
    def number(self) -> str:
        if self.count is None or (self.is_part and not self.count):
            return ""
        more = "+" if self.is_part or self.count > MOST_COUNTED else ""
        return f"{min(self.count, MOST_COUNTED):,}{more}"


def chips_of(form: RunListForm, counts: StatusCounts | None) -> list[Chip]:
    chosen = form.cleaned_data.get(STATUS, "")
    base = without(form, STATUS)
    numbers = {} if counts is None else counts.numbers
    is_part = counts is not None and counts.is_part
    everything = None if counts is None else min(sum(numbers.values()), MOST_COUNTED + 1)
    chips = [Chip("All", "", "grey", base, not chosen, everything, is_part)]
    if chosen == OPEN:
        open_runs = None if counts is None else sum(numbers[status] for status in OPEN_SHOWN_STATUSES)
        chips.append(Chip("Open", "run", "blue", _with_status(base, OPEN), True, open_runs, is_part))
    for status in SHOWN_STATUSES:
        count = numbers.get(status)
        if status in RARE and not count and not is_part and status != chosen:
            continue
        chips.append(Chip(*status_marks.RUN[status], _with_status(base, status), status == chosen, count, is_part))
    return chips


def _with_status(base: str, status: str) -> str:
    return f"{base}{'&' if len(base) > 1 else ''}{STATUS}={status}"
