"""Admission and release of starts under the concurrency key of a definition.

Source: docs/reference/events.md#concurrency-keys
"""

import uuid
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from workflows.concurrency import slot_use
from workflows.concurrency_keys import definition_locked, has_earlier_delivery, holder_of
from workflows.dispatch_notification import notify_dispatcher
from workflows.engine.clock import ms_of_datetime
from workflows.engine.run_keys import KeyInvalid, OnConflict, run_key
from workflows.errors import Conflict, InputInvalid
from workflows.json_numbers import as_doubles
from workflows.models import Definition, Run
from workflows.projections.launches import record_queue_checks
from workflows.statuses import RunStatus, TriggerType

KEY_IN_USE = "CONCURRENCY_KEY_IN_USE"
# The end of a run wakes the first start of its queue. These checks help if the portal missed the end.
CHECK_AGAIN, CHECK_LATER_STARTS = timedelta(seconds=60), timedelta(minutes=10)
# An event that was accepted earlier is normally delivered within this time.
CHECK_AFTER_DELIVERY = timedelta(seconds=2)


def key_of_start(definition: Definition, payload: Any) -> str:
    """Return the concurrency key of a start with this payload. It is empty if the start has no limit.

    Errors: InputInvalid CONCURRENCY_KEY_INVALID; the author of the definition must act.
    """
    if not definition.concurrency:
        return ""
    try:
        now_ms = ms_of_datetime(timezone.now())
        return run_key(definition.concurrency, as_doubles(payload), now_ms=now_ms) or ""
    except KeyInvalid as error:
        raise InputInvalid(
            f"the concurrency key of {definition.key} {error}. An author must correct `concurrency` of the definition, "
            "or the payload must change.",
            code="CONCURRENCY_KEY_INVALID",
        ) from error


def run_take_key(run: Run) -> None:
    """Give a new run its concurrency key, or put its start into the queue of the key.

    Call this function in the transaction that inserts the row. It locks the definition's row, so that two starts never
    take one key. A repeat for a row that exists changes nothing.

    Errors: Conflict CONCURRENCY_KEY_IN_USE with the id of the open run, if the definition says `skip`; the errors of
    `key_of_start`.
    """
    rule = run.definition.concurrency
    if not rule or Run.objects.filter(tenant_id=run.tenant_id, id=run.id).exists():
        return
    run.concurrency_key = key_of_start(run.definition, run.input)
    if not run.concurrency_key:
        return
    definition_locked(run.definition_id)
    holder = holder_of(run)
    if holder is not None and (rule["onConflict"] == OnConflict.SKIP or _is_ancestor(holder, run.parent_run)):
        raise key_in_use(run.definition, holder.id)
    if holder is not None or (rule["onConflict"] != OnConflict.SKIP and has_earlier_delivery(run)):
        run.queued_until = timezone.now()  # the dispatcher checks the queue once after this commit
        transaction.on_commit(partial(notify_dispatcher, run.tenant_id))


def key_forecast(definition: Definition, payload: Any) -> tuple[str, str]:
    """Return what a start with this payload would do now: the `onConflict` of the definition, and the reason.

    Both are empty if the start has no key, or if its key is free. This function only reads.

    Errors: the errors of `key_of_start`.
    """
    key = key_of_start(definition, payload)
    start = Run(tenant_id=definition.tenant_id, definition=definition, concurrency_key=key, created_at=timezone.now())
    holder = holder_of(start) if key else None
    if holder is None:
        return "", ""
    on_conflict = definition.concurrency["onConflict"]
    effects = {
        OnConflict.SKIP: "the start is skipped",
        OnConflict.QUEUE: "the new run is queued until that run has ended",
        OnConflict.CANCEL_OLDEST: "that run is canceled, and the new run starts when it has ended",
    }
    return on_conflict, f"the run {holder.id} with the same concurrency key is open: {effects[on_conflict]}"


def key_in_use(definition: Definition, run_id: uuid.UUID) -> Conflict:
    return Conflict(
        f"the run {run_id} of {definition.key} with the same concurrency key is open",
        code=KEY_IN_USE,
        details={
            "runId": str(run_id),
            "hint": "Nothing was started. Wait until the open run ends, or cancel it, then start again.",
        },
    )


def _is_ancestor(holder: Run, parent: Run | None) -> bool:
    """Return True if a child would wait for its own parent, or for a parent of its parent."""
    while parent is not None:
        if parent.id == holder.id:
            return True
        parent = parent.parent_run
    return False


# -- The queue ---------------------------------------------------------------------------------------------------------


def start_check(run_id: uuid.UUID, *, by_parent: bool = False) -> tuple[Run | None, Run | None]:
    """Check the queue of a start, and release the start if its key is free. Nothing is started here.

    `by_parent`: the caller is the activity of the parent. Only it can start a child, so only it releases a child. It
    leaves the time of the next check to the dispatcher, which also requests the cancel of the open run.

    Return the run and the run that it waits for. The run is None if it is not queued. A released run has
    `queued_until` None.
    """
    with transaction.atomic():
        known = Run.objects.filter(id=run_id).values_list("definition_id", flat=True).get()
        definition = definition_locked(known)
        run = _queued_locked(run_id)
        if run is None:
            return None, None
        holder = holder_of(run)
        next_check = _next_check(run, definition, holder)
        if by_parent:
            run.queued_until = next_check and run.queued_until
        elif run.trigger_type == TriggerType.CHILD:
            run.queued_until = next_check or timezone.now() + CHECK_AGAIN
        else:
            run.queued_until = next_check
        record_queue_checks(tenant_id=run.tenant_id, run_ids=[run.id], at=run.queued_until)
    return run, holder


def _queued_locked(run_id: uuid.UUID) -> Run | None:
    queued = Run.objects.select_related("event", "definition_version", "definition").filter(
        id=run_id, status=RunStatus.STARTING, queued_until__isnull=False
    )
    return queued.select_for_update(no_key=True, of=("self",)).first()


def _next_check(run: Run, definition: Definition, holder: Run | None) -> datetime | None:
    """Return the time of the next check, or None if the workflow may start now."""
    now = timezone.now()
    if holder is not None:
        return now + (CHECK_AGAIN if holder.queued_until is None else CHECK_LATER_STARTS)
    if has_earlier_delivery(run):
        return now + CHECK_AFTER_DELIVERY
    use = slot_use(definition)
    if definition.is_paused or (use is not None and not use.free):
        return now + CHECK_AGAIN
    return None
