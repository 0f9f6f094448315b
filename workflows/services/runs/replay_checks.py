"""Information for a person who replays runs.

Before a replay, warnings name earlier replays and other open runs. After a replay, the page shows the new runs and
their status.
"""

import uuid
from collections.abc import Sequence

from django.db.models import Exists, OuterRef, QuerySet

from workflows.ledger import run_id_of_replay
from workflows.models import BulkItem, BulkJob, Run
from workflows.statuses import OPEN_RUN_STATUSES, BulkItemState


def replay_results(items: Sequence[BulkItem]) -> dict[uuid.UUID, Run]:
    """Return the new runs of a replay job by the id of the item. Items without a new run are left out.

    Cost: one statement.
    """
    wanted = {item.id: run_id_of_replay(item.command_id) for item in items if item.command_id is not None}
    tenants = {item.tenant_id for item in items}
    runs = Run.objects.filter(tenant_id__in=tenants).in_bulk(set(wanted.values()))
    return {item_id: runs[run_id] for item_id, run_id in wanted.items() if run_id in runs}


def replay_warnings(job: BulkJob) -> list[str]:
    """Return warnings about the eligible runs of a replay job. Cost: two statements."""
    targets = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING)
    runs = Run.objects.filter(tenant_id=job.tenant_id, id__in=targets.values("target_id"))
    return _warnings(runs)


def run_replay_warnings(run: Run) -> list[str]:
    """Return warnings about the replay of one run. Cost: two statements."""
    return _warnings(Run.objects.filter(tenant_id=run.tenant_id, id=run.id))


def _warnings(runs: QuerySet[Run]) -> list[str]:
    same_tenant = Run.objects.filter(tenant_id=OuterRef("tenant_id"))
    replayed = runs.filter(Exists(same_tenant.filter(replay_of=OuterRef("pk")))).count()
    open_runs = same_tenant.filter(
        definition=OuterRef("definition"),
        correlation_key=OuterRef("correlation_key"),
        status__in=OPEN_RUN_STATUSES,
    ).exclude(id=OuterRef("pk"))
    with_open = runs.exclude(correlation_key="").filter(Exists(open_runs)).count()
    warnings = []
    if replayed:
        warnings.append(f"Replayed before: {replayed} of these runs. A replay executes every action again.")
    if with_open:
        warnings.append(f"Another open run of the definition has the same correlation key: {with_open} of these runs.")
    return warnings
