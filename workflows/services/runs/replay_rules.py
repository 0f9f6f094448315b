"""Rules that a replay must meet, because a replay can repeat work that was done in the meantime.

- Another run of the same key must not be open, and must not have succeeded since the original run was created.
- If an action that is not idempotent would repeat its effect, the requester must accept this.

A run belongs to the key of another run if it is a replay of this run, or if it has the same definition and the same
correlation key. An explicit option lifts each rule.

Source: docs/reference/authority.md#control-matrix
"""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import CharField, Count, F, Q, QuerySet, Value
from django.db.models.functions import Cast, Coalesce, Concat

from workflows.actions.lookup import tenant_actions
from workflows.concurrency_keys import definition_locked
from workflows.errors import Conflict, InputInvalid
from workflows.models import ActionInvocation, DefinitionVersion, Run
from workflows.selectors.runs_in_the_way import open_or_succeeded_since
from workflows.statuses import OPEN_RUN_STATUSES, ReplayVersion

RUN_OPEN, RUN_SUCCEEDED, REPEATS = "REPLAY_RUN_OPEN", "REPLAY_RUN_SUCCEEDED", "REPLAY_REPEATS_EFFECTS"
MAX_NAMED = 5
CHUNK = 5_000


@dataclass(frozen=True)
class RepeatedAction:
    """Action that a replay executes again, and the number of runs in which it was executed.

    If it is idempotent, the target can recognise a repetition within one run. A replay has another key.
    """

    action: str
    label: str
    runs: int
    is_idempotent: bool


def replay_version(run: Run, on: ReplayVersion | str) -> DefinitionVersion:
    """Return the version that a replay of this run uses.

    Errors: Conflict DEFINITION_NOT_PUBLISHED; an author must publish the definition.
    """
    versions = DefinitionVersion.objects.select_related("definition").filter(tenant_id=run.tenant_id)
    if on == ReplayVersion.PINNED:
        return versions.get(id=run.definition_version_id)
    published_id = run.definition.published_version_id
    found = None if published_id is None else versions.filter(id=published_id).first()
    if found is None:
        raise Conflict(
            f"{run.definition_key} has no published version; publish its draft first, or replay on the version of the "
            "original run",
            code="DEFINITION_NOT_PUBLISHED",
        )
    return found


def runs_of_key(run: Run) -> QuerySet[Run]:
    """Return the other runs of the key of this run, newest first."""
    same = Q(replay_of_id=run.id)
    if run.correlation_key:
        same |= Q(definition_id=run.definition_id, correlation_key=run.correlation_key)
    return Run.objects.filter(same, tenant_id=run.tenant_id).exclude(id=run.id).order_by("-created_at", "-id")


def runs_in_the_way(run: Run) -> QuerySet[Run]:
    """Return the other runs of the key that are open, or that have succeeded since this run was created."""
    return runs_of_key(run).filter(open_or_succeeded_since(run.created_at))


def require_no_other_run(run: Run, *, except_id: uuid.UUID) -> None:
    """Refuse a replay while another run of the key is open, or if one has succeeded since.

    Call this function in the transaction that inserts the new run. It locks the definition's row, so that two replays
    of one key never both start.

    Errors: Conflict REPLAY_RUN_OPEN, REPLAY_RUN_SUCCEEDED; `details.runId` is the other run.
    """
    definition_locked(run.definition_id)
    others = list(runs_in_the_way(run).exclude(id=except_id).only("id", "status")[:100])
    found = next((other for other in others if other.status in OPEN_RUN_STATUSES), next(iter(others), None))
    if found is None:
        return
    is_open = found.status in OPEN_RUN_STATUSES
    what = "is open" if is_open else "has succeeded since the original run was created"
    raise Conflict(
        f"another run of this key {what}: {found.id}; look at this run first, or allow another run of the key",
        code=RUN_OPEN if is_open else RUN_SUCCEEDED,
        details={"runId": str(found.id), "status": str(found.status)},
    )


def require_repeats_accepted(run: Run) -> None:
    """Refuse a replay that would repeat the effect of an action that is not idempotent.

    Errors: InputInvalid REPLAY_REPEATS_EFFECTS; `details.actions` names the actions.
    """
    repeated = repeated_actions(tenant_id=run.tenant_id, run_ids=[run.id])
    if repeated:
        raise repeats_refused(repeated)


def repeats_refused(repeated: list[RepeatedAction]) -> InputInvalid:
    names = ", ".join(action.action for action in repeated[:MAX_NAMED])
    return InputInvalid(
        f"the replay repeats the effect of actions that are not idempotent: {names}; check that a second effect is "
        "acceptable, then accept the repeats",
        code=REPEATS,
        details={"actions": [{"action": each.action, "runs": each.runs} for each in repeated]},
    )


def repeated_actions(*, tenant_id: uuid.UUID, run_ids: Sequence[uuid.UUID]) -> list[RepeatedAction]:
    """Return the actions of `executed_actions` that are not idempotent."""
    return [each for each in executed_actions(tenant_id=tenant_id, run_ids=run_ids) if not each.is_idempotent]


def runs_with_repeats(
    *, tenant_id: uuid.UUID, run_ids: Sequence[uuid.UUID], repeated: Sequence[RepeatedAction]
) -> set[uuid.UUID]:
    """Return those of the runs that executed one of these actions, themselves or in their child runs.

    Cost: two statements for each CHUNK of runs, or none without an action.
    """
    wanted = {action.action for action in repeated}
    found: set[uuid.UUID] = set()
    for begin in range(0, len(run_ids) if wanted else 0, CHUNK):
        chunk = set(run_ids[begin : begin + CHUNK])
        rows = _own_invocations(tenant_id, list(chunk)).values_list(
            "action_id", "action_version", "run_id", "run__root_run_id"
        )
        for action_id, version, run_id, root_id in rows.distinct():
            if f"{action_id}@{version}" in wanted:
                found |= {run_id, root_id} & chunk
    return found


def executed_actions(*, tenant_id: uuid.UUID, run_ids: Sequence[uuid.UUID]) -> list[RepeatedAction]:
    """Return the actions with side effects that were executed in these runs or in their child runs.

    An execution counts only if its idempotency key belongs to its run. A key that an author computes from business
    data is the same in the replay, so the replay takes the stored result.

    Cost: one statement for the actions of the tenant, and two for each CHUNK of runs. The ids are lists, because
    PostgreSQL may choose a slow plan for subqueries on tables that were written a moment ago.
    """
    found: Counter[tuple[str, int]] = Counter()
    for begin in range(0, len(run_ids), CHUNK):
        found.update(_executed(tenant_id, run_ids[begin : begin + CHUNK]))
    known = {(action.id, action.version): action for action in tenant_actions(tenant_id)} if found else {}
    executed = []
    for (action_id, version), number in sorted(found.items()):
        action = known.get((action_id, version))
        name = f"{action_id}@{version}"
        if action is None:
            executed.append(RepeatedAction(name, name, number, is_idempotent=False))
        elif action.has_side_effects:
            executed.append(RepeatedAction(name, action.label, number, action.is_idempotent))
    return executed


def _executed(tenant_id: uuid.UUID, run_ids: Sequence[uuid.UUID]) -> dict[tuple[str, int], int]:
    """Return the number of these runs by the action that they or their child runs executed."""
    rows = (
        _own_invocations(tenant_id, run_ids)
        .values_list("action_id", "action_version")
        .annotate(number=Count(Coalesce("run__root_run_id", "run_id"), distinct=True))
    )
    return {(action_id, version): number for action_id, version, number in rows}


def _own_invocations(tenant_id: uuid.UUID, run_ids: Sequence[uuid.UUID]) -> QuerySet[Any]:
    """Return the invocations of these runs and of their child runs whose idempotency key belongs to their run."""
    children = Run.objects.filter(tenant_id=tenant_id, root_run_id__in=run_ids).values_list("id", flat=True)
    own_key = Concat(Cast("run_id", CharField()), Value("/"))
    rows = ActionInvocation.objects.filter(tenant_id=tenant_id, run_id__in=[*run_ids, *children])
    return rows.annotate(own_key=own_key).filter(idempotency_key__startswith=F("own_key")).order_by()
