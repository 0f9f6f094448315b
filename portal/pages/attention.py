"""Rows of the card "Needs attention": a count, a link to exactly the counted rows, and the most urgent of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.text import Truncator

from workflows.models.fields import short_id
from workflows.selectors.attention import EventProblem, RunProblem
from workflows.selectors.dashboard import MOST_COUNTED, Backlog, Problem
from workflows.selectors.schedules import ScheduleProblem
from workflows.statuses import CommandAction, OutcomeCode

LONGEST_REASON = 140
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class First:
    """The most urgent row: a link, a text after it, a code, and the end of the sentence."""

    label: str
    url: str
    text: str = ""
    code: str = ""
    end: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the card. `time` says how the time `at` is shown: "ago", "since", "until" or "late"."""

    name: str
    icon: str
    tone: str
    count: str
    title: str
    url: str
    first: First | None
    at: datetime | None
    time: str
    is_hot: bool
    to_do: str


@dataclass(frozen=True)
class Kind:
    """Look of a problem. `short` names it in the line of problems that do not exist.

    An urgent problem has `to_do`: what a person does about it, in a few words.
    """

    icon: str
    tone: str
    title: str
    short: str
    address: str
    first: Callable[[Facts], First]
    time: str = "ago"
    to_do: str = ""


def _run(facts: Facts, text: str = "", code: str = "") -> First:
    label = facts["key"] or f"run {short_id(facts['id'])}"
    return First(label, reverse("admin:workflows_run_change", args=[facts["id"]]), text, code)


def _reason(facts: Facts) -> First:
    return _run(facts, Truncator(facts["why"]).chars(LONGEST_REASON))


def _failed(facts: Facts) -> First:
    incident = facts["incident"]
    if incident is None:  # the task that groups failures has read none of them yet
        return _run(facts, facts["definition"], facts["code"])
    page = reverse("admin:workflows_incident_change", args=[incident["id"]])
    code = incident["error_code"] or incident["error_category"]
    runs, others = incident["runs"], incident["others"]
    end = f", {runs:,} run{'' if runs == 1 else 's'}"
    if others:
        end += f", and {others:,} more incident{'' if others == 1 else 's'}"
    return First(f"INC-{incident['number']}", page, incident["definition__name"], code, end)


def _retry(facts: Facts) -> First:
    return _run(facts, attempt_text(facts["attempt"] or 1, facts.get("limit")), facts["code"] or "")


def attempt_text(attempt: int, limit: int | None) -> str:
    """Return `attempt 9 of 12`, or `attempt 9` if the limit is not known."""
    return f"attempt {attempt} of {limit}" if limit else f"attempt {attempt}"


def _overdue(facts: Facts) -> First:
    return _run(facts, f"{facts['step']}: timeout not recorded")


def _task(facts: Facts) -> First:
    page = reverse("admin:workflows_humantask_change", args=[facts["task"]])
    return First(facts["key"] or f"run {short_id(facts['id'])}", page, facts["title"])


def _start(facts: Facts) -> First:
    return _run(facts, facts["definition"])


def _command(facts: Facts) -> First:
    page = reverse("admin:workflows_command_change", args=[facts["id"]])
    return First(CommandAction(facts["action"]).label, page, "the next sweep checks what happened")


def _dead(facts: Facts) -> First:
    target = f"to {facts['definition']}, " if facts["definition"] else ""
    attempts = f"{facts['attempts']} attempt{'' if facts['attempts'] == 1 else 's'} failed"
    page = reverse("admin:workflows_event_change", args=[facts["event"]])
    return First(facts["event_type"], page, f"{target}{attempts}")


def _event(facts: Facts) -> First:
    page = reverse("admin:workflows_event_change", args=[facts["id"]])
    return First(facts["event_type"], page, dict(OutcomeCode.choices).get(facts["code"], "").lower())


def _held(facts: Facts) -> First:
    page = reverse("admin:workflows_definition_change", args=[facts["definition_id"]])
    reason = Truncator(facts["why"]).chars(LONGEST_REASON)
    why = f"is paused: {reason}" if facts["is_paused"] else "has no free slot under its concurrency limit"
    return First(facts["definition"], page, why)


def _paused(facts: Facts) -> First:
    page = reverse("admin:workflows_definition_change", args=[facts["id"]])
    return First(facts["definition"], page, Truncator(facts["why"]).chars(LONGEST_REASON))


def _job(facts: Facts) -> First:
    page = reverse("admin:workflows_bulkjob_change", args=[facts["id"]])
    of = f" of INC-{facts['incident']}" if facts["incident"] else ""
    runs = f"{facts['total']:,} run{'' if facts['total'] == 1 else 's'}"
    return First(f"{facts['action'].title()} {runs}", page, f"{of} waits for you".strip())


def _schedule(facts: Facts) -> First:
    page = reverse("admin:workflows_schedule_change", args=[facts["id"]])
    return First(facts["name"], page, f"of {facts['definition']}: {Truncator(facts['why']).chars(LONGEST_REASON)}")


def _schedules(problem: ScheduleProblem) -> str:
    return f"workflows_schedule_changelist?problem={problem}"


def _runs(problem: RunProblem) -> str:
    return f"workflows_run_changelist?problem={problem}"


def _events(problem: EventProblem) -> str:
    return f"workflows_event_changelist?problem={problem}"


# Most urgent first.
KINDS = {
    "stuck": Kind(
        "warn", "red", "Runs that Temporal cannot move", "stuck runs", _runs(RunProblem.STUCK), _reason, "since",
        "Read the cause on the run page. It is mostly an error in the code or in the version of a worker.",
    ),
    "unknown": Kind(
        "unknown", "violet", "Unknown outcomes to decide", "unknown outcomes",
        "workflows_humantask_changelist?kind=decisions", _task, "ago",
        "Look in the other system, then decide.",
    ),
    "failed": Kind(
        "failed", "red", "Failed runs without an owner", "failed runs without an owner", _runs(RunProblem.UNOWNED),
        _failed, "ago",
        "Take the incident, repair the cause, replay. Of a run and its replays only the newest counts.",
    ),
    "auto_paused": Kind(
        "held", "red", "Definitions paused by the portal", "automatic pauses",
        "workflows_definition_changelist?problem=auto_paused", _paused, "since",
        "Correct the cause, then resume the definition.",
    ),
    "retrying": Kind(
        "retry", "orange", "Retrying for more than 15 min", "long retries", _runs(RunProblem.LONG_RETRY), _retry,
        "since",
        "Repair the target before the last attempt, or cancel the run.",
    ),
    "due": Kind(
        "task", "amber", "Tasks due within 1 hour", "due tasks", "workflows_humantask_changelist?due=hour", _task,
        "until",
        "Claim the task and answer it.",
    ),
    "overdue": Kind(
        "clock", "amber", "Runs with an overdue wait", "overdue waits", _runs(RunProblem.OVERDUE), _overdue, "late",
        "Check that the Temporal workers run.",
    ),
    "paused_jobs": Kind(
        "bulk", "amber", "Bulk jobs paused", "paused bulk jobs", "workflows_bulkjob_changelist?state=paused", _job,
        "since",
    ),
    "dead": Kind("dead", "amber", "Dead letters", "dead letters", "workflows_eventdelivery_changelist", _dead),
    "rejected_events": Kind(
        "failed", "amber", "Events rejected, 24 hours", "rejected events", _events(EventProblem.REJECTED), _event
    ),
    "starting": Kind(
        "run", "amber", "Runs that do not start", "late starts", _runs(RunProblem.STARTING), _start, "since"
    ),
    "commands": Kind(
        "unknown", "violet", "Commands with unknown outcome", "unknown commands",
        "workflows_command_changelist?state__exact=unknown", _command,
    ),
    "drift": Kind("warn", "amber", "Runs that differ from Temporal", "drift", _runs(RunProblem.DRIFT), _reason),
    "schedules": Kind(
        "clock", "amber", "Schedules that differ from Temporal", "changed schedules",
        _schedules(ScheduleProblem.DIFFERS), _schedule,
    ),
    "held": Kind(
        "held", "grey", "Starts on hold", "held starts", "workflows_eventdelivery_changelist?status=held", _held,
        "since",
    ),
    "unused_events": Kind(
        "event", "grey", "Events unused, 24 hours", "unused events", _events(EventProblem.UNUSED), _event
    ),
}  # fmt: skip


def attention_rows(problems: Mapping[str, Problem]) -> list[Row]:
    """Return a row for each problem that exists, most urgent first."""
    return [_row(kind, problems[name]) for name, kind in KINDS.items() if problems[name].count]


def absent_problems(problems: Mapping[str, Problem]) -> str:
    """Return the names of the problems that do not exist, as one text."""
    return ", ".join(kind.short for name, kind in KINDS.items() if not problems[name].count)


def count_text(count: int) -> str:
    """Return a count of at most `MOST_COUNTED` + 1 rows: `12`, or `1,000+`."""
    return f"{count:,}" if count <= MOST_COUNTED else f"{MOST_COUNTED:,}+"


def list_address(address: str) -> str:
    """Return the address of a list from `name?query`."""
    name, _, query = address.partition("?")
    return reverse(f"admin:{name}") + (f"?{query}" if query else "")


def overdue_address() -> str:
    return list_address(KINDS["overdue"].address)


def unchecked_schedules_address() -> str:
    return list_address(_schedules(ScheduleProblem.UNCHECKED))


def unchecked_address() -> str:
    return list_address(_runs(RunProblem.UNCHECKED))


def compared_text(backlog: Backlog) -> str:
    """Return how many open runs without drift were compared with Temporal. The text fits one line of the card."""
    runs = f"{count_text(backlog.open_runs)} open run{'' if backlog.open_runs == 1 else 's'}"
    if not backlog.open_runs:
        return "No run is open"
    compared = backlog.open_runs - backlog.uncompared
    if not compared:
        return f"{runs} not compared yet"
    return f"{runs if not backlog.uncompared else f'{count_text(compared)} of {runs}'} compared, no difference"


def _row(kind: Kind, problem: Problem) -> Row:
    facts = problem.first
    return Row(
        name=problem.name,
        icon=kind.icon,
        tone=kind.tone,
        count=count_text(problem.count),
        title=kind.title,
        url=list_address(kind.address),
        first=kind.first(facts) if facts else None,
        at=facts["at"] if facts else None,
        time=kind.time,
        is_hot=bool(kind.to_do),
        to_do=kind.to_do,
    )
