"""Rules for schedules after their last comparison with Temporal. All screens use them, so the screens agree.

Source: docs/reference/schedules.md#schedules-in-temporal
"""

import uuid
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Case, CharField, F, Q, QuerySet, Value, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce
from django.utils import timezone

from workflows.models import Definition, Schedule
from workflows.selectors.attention import CHECKED_WITHIN

CHANGED_WITHIN = timedelta(hours=24)
UNREACHABLE = "TEMPORAL_UNAVAILABLE"


class ScheduleProblem(StrEnum):
    """Values of the filter `problem` of the list of schedules."""

    DIFFERS = "differs"
    UNCHECKED = "unchecked"


SCHEDULE_PROBLEM_WORDS: dict[str, str] = {
    ScheduleProblem.DIFFERS.value: "Temporal does not have it as shown, or it was changed there in the last 24 hours",
    ScheduleProblem.UNCHECKED.value: "not compared with Temporal for more than 12 minutes",
}


class Doubt(StrEnum):
    """Why the portal does not promise that a schedule starts a run at its next time."""

    NONE = ""
    MISSING = "missing"
    UNCHECKED = "unchecked"


DOUBT_WORDS: dict[str, str] = {
    Doubt.MISSING.value: "not in Temporal",
    Doubt.UNCHECKED.value: "not compared with Temporal",
}


def doubt_of(schedule: Schedule) -> Doubt:
    """Return the doubt about a schedule. `doubt_column` has the same rule for the database."""
    if schedule.sync_error and schedule.sync_error["code"] != UNREACHABLE:
        return Doubt.MISSING
    compared_at = schedule.last_synced_at
    if schedule.sync_error or compared_at is None or compared_at < _unchecked_before():
        return Doubt.UNCHECKED
    return Doubt.NONE


def doubt_column() -> Case:
    return Case(
        When(Q(sync_error__isnull=False) & ~Q(sync_error__code=UNREACHABLE), then=Value(Doubt.MISSING.value)),
        When(Q(sync_error__isnull=False) | _is_unchecked(), then=Value(Doubt.UNCHECKED.value)),
        default=Value(Doubt.NONE.value),
        output_field=CharField(),
    )


def starting_schedules(tenant_id: uuid.UUID) -> QuerySet[Schedule]:
    """Return the schedules that start runs. Temporal also pauses those of a definition that cannot start runs."""
    stopped = Definition._base_manager.filter(
        Q(is_paused=True) | Q(archived_at__isnull=False) | Q(deleted_at__isnull=False) | Q(published_version=None),
        tenant_id=tenant_id,
    )
    active = Schedule.objects.filter(is_paused=False, removed_at__isnull=True, next_run_at__isnull=False)
    # Few definitions are stopped. With a join, the planner would not read the schedules in the order of their times.
    return active.filter(tenant_id=tenant_id).exclude(definition__in=stopped.values("id"))


def schedules_with_problem(schedules: QuerySet[Schedule], problem: str) -> QuerySet[Schedule]:
    """Return the schedules that have the problem, most urgent first. Source: `ScheduleProblem`."""
    kept = schedules.filter(removed_at__isnull=True)
    if problem == ScheduleProblem.UNCHECKED:
        return kept.filter(_is_unchecked()).order_by(F("last_synced_at").asc(nulls_first=True))
    since = (timezone.now() - CHANGED_WITHIN).isoformat()
    differing = kept.filter(Q(sync_error__isnull=False) | Q(drift__at__gte=since))
    return differing.order_by(F("sync_error__at").desc(nulls_last=True), F("drift__at").desc(nulls_last=True), "id")


def difference_facts() -> dict[str, Any]:
    """Return when and how a schedule of the problem `DIFFERS` differs, as columns `at` and `why`."""
    return {
        name: Coalesce(KeyTextTransform(key, "sync_error"), KeyTextTransform(key, "drift"))
        for name, key in (("at", "at"), ("why", "message"))
    }


def _is_unchecked() -> Q:
    return Q(last_synced_at__isnull=True) | Q(last_synced_at__lt=_unchecked_before())


def _unchecked_before() -> datetime:
    return timezone.now() - CHECKED_WITHIN
