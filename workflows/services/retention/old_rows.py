"""Deletion of old rows that need no check of references, in batches (docs/reference/retention.md#other-rows)."""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Exists, OuterRef
from django.utils import timezone

# Tokens and invitations that can no longer be used stay in their lists for this time.
TOKENS_ARE_SHOWN = timedelta(days=30)
# A sign-in can store the row for the list of sessions some moments before the session itself.
SESSION_IS_STORED_WITHIN = timedelta(hours=1)
_OLD_JOBS = (
    "SELECT id FROM workflow_bulk_jobs WHERE tenant_id = %(tenant)s AND state IN ('done', 'stopped', 'preview')"
    " AND coalesce(ended_at, created_at) < %(runs)s"
)
# An incident is deleted when its runs are gone, that is after its last failure. A merged incident follows the state of
# the incident that shows it, and is deleted before that one.
_NOT_USED = " AND NOT EXISTS (SELECT FROM {table} other WHERE other.{column} = incident.id)"
_CLOSED_INCIDENTS = (
    "SELECT incident.id FROM workflow_incidents incident"
    " LEFT JOIN workflow_incidents shown ON shown.id = incident.merged_into_id"
    " WHERE incident.tenant_id = %(tenant)s AND coalesce(shown.state, incident.state) = 'closed'"
    " AND greatest(incident.last_failed_at, coalesce(shown.state_since, incident.state_since)) < %(runs)s"
)
_OLD_INCIDENTS = _CLOSED_INCIDENTS + "".join(
    _NOT_USED.format(table=table, column=column)
    for table, column in (
        ("workflow_incident_failures", "incident_id"),
        ("workflow_incidents", "merged_into_id"),
        ("workflow_incidents", "split_from_id"),
        ("workflow_bulk_jobs", "incident_id"),
    )
)
_EMPTY_INCIDENT = (
    "NOT EXISTS (SELECT FROM workflow_incident_hours hour WHERE hour.incident_id = workflow_incidents.id)"
    " AND NOT EXISTS (SELECT FROM workflow_incident_notes note WHERE note.incident_id = workflow_incidents.id)"
)
# Tables with the condition for an old row, in the order in which the rows must be deleted.
_CONDITIONS = {
    "workflow_bulk_items": f"job_id IN ({_OLD_JOBS})",
    "workflow_bulk_jobs": f"id IN ({_OLD_JOBS})"
    " AND NOT EXISTS (SELECT FROM workflow_bulk_items item WHERE item.job_id = workflow_bulk_jobs.id)",
    "workflow_incident_hours": f"incident_id IN ({_OLD_INCIDENTS})",
    "workflow_incident_notes": f"incident_id IN ({_OLD_INCIDENTS})",
    "workflow_incidents": f"id IN ({_OLD_INCIDENTS}) AND {_EMPTY_INCIDENT}",
    "workflow_notifications": "created_at < %(notifications)s",
    "workflow_event_outbox": "refused_at < %(events)s",
    "workflow_schedule_occurrences": "event_id IS NULL AND fired_at < %(events)s",
    # Memory of effects whose run was deleted (workflows/projections/retention.py), and rows about deleted runs.
    "workflow_action_invocations": "run_id IS NULL AND started_at < %(ledger)s",
    "workflow_pruned_runs": "pruned_at < %(ledger)s",
    "workflow_data_store": "expires_at < %(now)s",
    "api_tokens": "least(expires_at, revoked_at) < %(tokens)s",
    "tenant_invitations": "least(expires_at, accepted_at, revoked_at) < %(tokens)s",
}
TABLES = tuple(_CONDITIONS)


def prune_rows(
    *, table: str, tenant_id: uuid.UUID, before: Mapping[str, datetime], limit: int, is_dry: bool = False
) -> int:
    """Delete old rows of one of TABLES, at most `limit`, and return their number. With `is_dry`, count all old rows.

    `before` has the time for each part of the tenant's policy: `runs`, `events`, `notifications` and `ledger`.
    Rows that another process has locked are left out.
    """
    now = timezone.now()
    values: dict[str, Any] = {
        "tenant": tenant_id, **before, "now": now, "tokens": now - TOKENS_ARE_SHOWN, "limit": limit,
    }  # fmt: skip
    old = f"FROM {table} WHERE tenant_id = %(tenant)s AND ({_CONDITIONS[table]})"
    with connection.cursor() as cursor:
        if is_dry:
            cursor.execute(f"SELECT count(*) {old}", values)
            return int(cursor.fetchone()[0])
        locked = f"SELECT id {old} LIMIT %(limit)s FOR UPDATE SKIP LOCKED"
        cursor.execute(f"DELETE FROM {table} WHERE id IN ({locked})", values)  # noqa: S608
        return int(cursor.rowcount)


def prune_sessions(*, limit: int, is_dry: bool = False) -> int:
    """Delete expired sessions of the portal, at most `limit`. The parameters are those of `prune_rows`."""
    expired = Session.objects.filter(expire_date__lt=timezone.now())
    if is_dry:
        return expired.count()
    keys = list(expired.order_by("expire_date").values_list("session_key", flat=True)[:limit])
    return Session.objects.filter(session_key__in=keys, expire_date__lt=timezone.now()).delete()[0] if keys else 0


def prune_session_rows(*, limit: int, is_dry: bool = False) -> int:
    """Delete rows of the list of sessions whose session has ended. The parameters are those of `prune_rows`."""
    session = Session.objects.filter(session_key=OuterRef("session_key"), expire_date__gte=timezone.now())
    before = timezone.now() - SESSION_IS_STORED_WITHIN
    ended = UserSession.objects.filter(~Exists(session), created_at__lt=before)
    if is_dry:
        return ended.count()
    keys = list(ended.order_by("pk").values_list("pk", flat=True)[:limit])
    return UserSession.objects.filter(pk__in=keys).delete()[0] if keys else 0


def prune_ledger(*, tenant_id: uuid.UUID, limit: int, is_dry: bool = False) -> tuple[int, int, str]:
    """Delete the oldest links of the audit chain, at most `limit`, with the ledger rows that have no later link.

    The database checks the period of the tenant, the hashes, and that the links are a prefix. It writes the checkpoint
    in the same transaction.

    Return the number of links, the number of ledger rows, and what stopped the deletion early: `bulk job` if the job of
    a command is stored, `run with a legal hold` if a command is about a run of its family, or an empty text.
    Errors: DatabaseError if the chain is not intact. An operator must run `manage.py verify_audit`.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT links, commands, kept_by FROM workflow_ledger_prune(%s, %s, %s)", [tenant_id, limit, is_dry]
        )
        links, commands, kept_by = cursor.fetchone()
        return int(links), int(commands), str(kept_by)


def prune_sign_ins(*, tenant_id: uuid.UUID | None, limit: int, is_dry: bool = False) -> int:
    """Delete the oldest records of the log of sign-ins, at most `limit`, and return their number.

    The database checks the period of the tenant. None: the records without a tenant. With `is_dry`, the number is that
    of one batch.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT sign_in_records_prune(%s, %s, %s)", [tenant_id, limit, is_dry])
        return int(cursor.fetchone()[0])
