"""Targets of ledger rows in words, with links (docs/reference/screens.md#command-ledger)."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.template.defaultfilters import pluralize
from django.urls import reverse

from workflows.models import BulkJob, Command, Run
from workflows.services.bulk.selectors import TARGET as BULK_JOB
from workflows.templatetags.run_page import short_id


@dataclass(frozen=True)
class LedgerTarget:
    """Target of a command. `name` is a key or another foreign text, `note` the short id. Texts can be empty."""

    kind: str
    name: str = ""
    note: str = ""
    url: str = ""


def ledger_targets(commands: Sequence[Command], *, tenant_id: uuid.UUID) -> list[tuple[Command, LedgerTarget]]:
    """Return the commands with their targets. The ledger is kept longer than runs. Cost: two statements."""
    runs = {command.run_id for command in commands if command.run_id}
    jobs = {command.target_id for command in commands if command.target_type == BULK_JOB and _is_id(command.target_id)}
    known = {
        str(run.id): LedgerTarget(
            run.definition.name, run.correlation_key, short_id(run.id),
            reverse("admin:workflows_run_change", args=[run.id]),
        )
        for run in Run.objects.filter(tenant_id=tenant_id, id__in=runs)
        .select_related("definition")
        .only("correlation_key", "definition__name")
    }  # fmt: skip
    known |= {
        str(job.id): LedgerTarget(
            f"{job.action} of {job.total:,} run{pluralize(job.total)}".capitalize(), "", short_id(job.id),
            reverse("admin:workflows_bulkjob_change", args=[job.id]),
        )
        for job in BulkJob.objects.filter(tenant_id=tenant_id, id__in=jobs).only("action", "total")
    }  # fmt: skip
    return [(command, known.get(str(command.run_id or command.target_id)) or _other(command)) for command in commands]


def _other(command: Command) -> LedgerTarget:
    kind, name = command.target_type.replace("_", " ").capitalize(), command.target_id
    return LedgerTarget(kind, note=short_id(name)) if _is_id(name) else LedgerTarget(kind, name)


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
