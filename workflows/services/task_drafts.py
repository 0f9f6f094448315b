"""Drafts of responses: what one member has typed into the form of a task and not sent yet.

A draft is no command, so it has no row in the command ledger. The completion of the task deletes the member's draft.

Source: docs/reference/engine.md#human-tasks
"""

import uuid
from datetime import datetime
from typing import Any

from django.utils import timezone

from workflows.actors import Actor
from workflows.engine.sizes import json_size
from workflows.engine.storable import storable_problem
from workflows.errors import InputInvalid, PermissionRefused
from workflows.models import HumanTask, TaskDraft
from workflows.services.task_access import require_may_act, require_open, task_find
from workflows.statuses import Role

MAX_DRAFT_BYTES = 262_144


def task_draft_save(*, actor: Actor, task_id: uuid.UUID, typed: dict[str, list[str]]) -> datetime:
    """Store the draft of this member and return the time. It replaces an earlier draft of the member.

    Errors: NotFound; PermissionRefused; Conflict (not open, held by another member); InputInvalid (too large, or a text
    that cannot be stored).
    """
    task = require_may_draft(actor=actor, task_id=task_id)
    unstorable = storable_problem(typed)
    if unstorable is not None:
        raise InputInvalid(f"the draft cannot be stored: {unstorable[0]} {unstorable[1]}")
    if json_size(typed) > MAX_DRAFT_BYTES:
        raise InputInvalid(f"the draft has more than {MAX_DRAFT_BYTES} bytes and is not stored; send the response")
    now = timezone.now()
    TaskDraft.objects.update_or_create(
        tenant_id=actor.tenant_id, task=task, user_id=int(actor.id), defaults={"typed": typed, "saved_at": now}
    )
    return now


def require_may_draft(*, actor: Actor, task_id: uuid.UUID) -> HumanTask:
    """Return the task, if this member may have a draft for it.

    Errors: NotFound; PermissionRefused; Conflict (not open, held by another member).
    """
    task = task_find(actor=actor, task_id=task_id)
    require_may_act(actor, task, to="complete tasks")
    require_open(task)
    if actor.kind != "user":
        raise PermissionRefused("only a member of the tenant can have a draft; send the response")
    return task


def task_draft_read(*, actor: Actor, task_id: uuid.UUID) -> TaskDraft | None:
    """Return the draft of this member for a task, or None. Errors: NotFound."""
    return task_draft_of(actor=actor, task=task_find(actor=actor, task_id=task_id))


def task_draft_discard(*, actor: Actor, task_id: uuid.UUID) -> None:
    """Delete the draft of this member, also if the task is closed or held by another member by now.

    Errors: NotFound; PermissionRefused.
    """
    task = task_find(actor=actor, task_id=task_id)
    actor.require(Role.OPERATOR, to="complete tasks")
    task_draft_delete(actor=actor, task=task)


def task_draft_of(*, actor: Actor, task: HumanTask) -> TaskDraft | None:
    """Return the draft of this member, or None."""
    if actor.kind != "user":
        return None
    return _drafts(actor, task).first()


def task_draft_delete(*, actor: Actor, task: HumanTask) -> None:
    if actor.kind == "user":
        _drafts(actor, task).delete()


def _drafts(actor: Actor, task: HumanTask) -> Any:
    return TaskDraft.objects.filter(tenant_id=actor.tenant_id, task=task, user_id=int(actor.id))
