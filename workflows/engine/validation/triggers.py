"""Check of the times of a trigger."""

from collections.abc import Iterator
from typing import Any

from workflows.engine.clock import is_in_seconds, parse_moment
from workflows.engine.cron import cron_problems
from workflows.engine.validation.problems import Finding, shown


def trigger_findings(document: dict[str, Any]) -> Iterator[Finding]:
    """Yield the problems of the times of a trigger. The shape of the trigger may be invalid."""
    trigger = document.get("trigger")
    kind = trigger.get("type") if isinstance(trigger, dict) else None
    if not isinstance(trigger, dict) or kind not in ("schedule", "recurring"):
        return
    if kind == "schedule":
        yield from _run_at(trigger.get("runAt"))
    elif isinstance(trigger.get("cron"), str) and isinstance(trigger.get("timezone"), str):
        for found in cron_problems(trigger["cron"], trigger["timezone"]):
            yield Finding(found.code, ("trigger", found.place), found.message, found.suggestion)


def _run_at(run_at: Any) -> Iterator[Finding]:
    if isinstance(run_at, str) and (parse_moment(run_at) is None or is_in_seconds(run_at)):
        message = (
            f"runAt must be an ISO 8601 time with a zone, for example 2026-01-26T09:00:00+01:00, but is {shown(run_at)}"
        )
        yield Finding("TRIGGER_TIME_INVALID", ("trigger", "runAt"), message)
