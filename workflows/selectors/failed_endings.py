"""Cancel and terminate commands of an open run that Temporal did not carry out."""

from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import JSONObject

from workflows.models import Command, Run
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, CommandState

TEMPORAL_CODES = ("WORKFLOW_TEMPORAL_CANCEL_FAILED", "WORKFLOW_TEMPORAL_TERMINATE_FAILED", "TEMPORAL_UNAVAILABLE")
_FACTS = ("id", "action", "actor_name", "requested_at", "code", "message", "details")


def newest_failed_ending() -> Subquery:
    """Return the annotation of a run that `failed_ending_of` reads."""
    failed = Command.objects.filter(
        Q(state=CommandState.FAILED) | Q(state=CommandState.REFUSED, code__in=TEMPORAL_CODES),
        tenant_id=OuterRef("tenant_id"),
        run=OuterRef("pk"),
        action__in=(CommandAction.CANCEL, CommandAction.TERMINATE),
    ).annotate(facts=JSONObject(**{name: name for name in _FACTS}))
    return Subquery(failed.order_by("-requested_at", "-id").values("facts")[:1])


def failed_ending_of(run: Any, sent: Command | None) -> dict[str, Any] | None:
    """Return the newest command that failed, or None if the run has ended or a newer command was `sent`.

    Shape: `{id, action, actor_name, requested_at, code, message, error, hint}`. `error` is that of Temporal.
    """
    facts = run.newest_failed_ending if run.status in OPEN_RUN_STATUSES else None
    if facts is None:
        return None
    requested_at, details = datetime.fromisoformat(facts["requested_at"]), facts["details"]
    if sent is not None and sent.requested_at > requested_at:
        return None
    told = details if isinstance(details, dict) else {}
    return {**facts, "requested_at": requested_at, "error": told.get("error", ""), "hint": told.get("hint", "")}


def is_on_run_page(code: str, run: Run) -> bool:
    """Return True if the page of the run shows a command that has just failed with this code. Cost: one statement."""
    return code in TEMPORAL_CODES and Run.objects.filter(id=run.id, status__in=OPEN_RUN_STATUSES).exists()
