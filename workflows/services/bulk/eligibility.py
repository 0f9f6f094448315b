"""Eligibility of the items of a bulk job. A run that is not eligible gets a code and a reason, and no request.

A replay job has more rules than other jobs: it starts one run for each key, and the input of each run must fit the
version that the job uses (docs/reference/authority.md#control-matrix).
"""

from typing import Any

from django.db import connection
from django.utils import timezone

from workflows.models import BulkItem, BulkJob, DefinitionVersion, Run
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.payload_check import PayloadChecker
from workflows.services.runs.replay_rules import RUN_OPEN, RUN_SUCCEEDED
from workflows.statuses import (
    OPEN_RUN_STATUSES,
    BulkItemState,
    CommandAction,
    CommandState,
    Engine,
    ReplayVersion,
    RunStatus,
)

# More inputs are checked when their replays start.
MAX_CHECKED_INPUTS = 1_000
_PUBLISHED = "definition__published_version_id"

# Items of runs that do not exist have their code from the freeze.
_CHECK = """
UPDATE workflow_bulk_items item
SET state = %(ineligible)s, code = checked.code, message = CASE checked.code {messages} ELSE '' END, decided_at = now()
FROM (
    SELECT id, CASE
        WHEN code = '' AND is_one_per_key AND row_number() OVER (
            PARTITION BY code, definition_id, correlation_key ORDER BY created_at DESC, run_id DESC
        ) > 1 THEN 'REPLAY_KEY_TWICE'
        ELSE code
    END AS code
    FROM (
        SELECT item.id, run.id AS run_id, run.definition_id, run.correlation_key, run.created_at,
            %(is_keyed)s AND run.correlation_key <> '' AS is_one_per_key,
            CASE
                WHEN run.engine = %(legacy)s THEN 'WORKFLOW_LEGACY_RUN_READ_ONLY'
                {rules}
                ELSE ''
            END AS code
        FROM workflow_bulk_items item
        JOIN workflow_runs run ON run.id = item.target_id AND run.tenant_id = item.tenant_id
        WHERE item.tenant_id = %(tenant)s AND item.job_id = %(job)s AND item.state = %(pending)s
    ) AS judged
) AS checked
WHERE item.id = checked.id AND checked.code <> ''
"""
_OPEN_RULES = """
                WHEN NOT (run.status = ANY(%(open)s)) THEN 'WORKFLOW_RUN_CLOSED'
                WHEN EXISTS (
                    SELECT FROM workflow_commands command
                    WHERE command.tenant_id = run.tenant_id AND command.run_id = run.id
                      AND command.action = %(action)s AND command.state = ANY(%(unobserved)s)
                ) THEN 'BULK_ALREADY_ASKED'
"""
_OTHER = """
                WHEN EXISTS (
                    SELECT FROM workflow_runs other
                    WHERE other.tenant_id = run.tenant_id AND other.replay_of_id = run.id AND {condition}
                ) OR run.correlation_key <> '' AND EXISTS (
                    SELECT FROM workflow_runs other
                    WHERE other.tenant_id = run.tenant_id AND other.correlation_key = run.correlation_key
                      AND other.correlation_key <> '' AND other.definition_id = run.definition_id
                      AND other.id <> run.id AND {condition}
                ) THEN '{code}'
"""
_REPLAY_RULES = _OTHER.format(condition="other.status = ANY(%(open)s)", code=RUN_OPEN) + _OTHER.format(
    condition="other.status = %(succeeded)s AND other.created_at > run.created_at", code=RUN_SUCCEEDED
)

INELIGIBLE_REASONS = {
    "RUN_NOT_FOUND": "there is no run with this id",
    "WORKFLOW_LEGACY_RUN_READ_ONLY": "the run belongs to the history of an older engine and can only be read",
    "WORKFLOW_RUN_CLOSED": "the run had already ended",
    "BULK_ALREADY_ASKED": "the same request was sent before, and the run has not recorded its end yet",
    RUN_OPEN: "another run of the key is open",
    RUN_SUCCEEDED: "another run of the key has succeeded since",
    "REPLAY_KEY_TWICE": "a newer run of the same key is in the selection",
    "PAYLOAD_INVALID": "the input does not fit the version",
    "DEFINITION_NOT_PUBLISHED": "the definition has no published version",
}


def items_check(job: BulkJob) -> None:
    """Mark the items that are not eligible. Call this function in the transaction that freezes the selection."""
    is_replay = job.action == CommandAction.REPLAY
    is_keyed = is_replay and not job.allows_another_run
    rules = _OPEN_RULES if BULK_ACTIONS[job.action].is_for_open else _REPLAY_RULES if is_keyed else ""
    messages = " ".join(f"WHEN '{code}' THEN %({code})s" for code in INELIGIBLE_REASONS)
    parameters: dict[str, Any] = {
        **INELIGIBLE_REASONS,
        "tenant": job.tenant_id,
        "job": job.id,
        "action": str(job.action),
        "is_keyed": is_keyed,
        "open": [str(status) for status in OPEN_RUN_STATUSES],
        "succeeded": str(RunStatus.SUCCEEDED),
        "unobserved": [str(CommandState.ACCEPTED), str(CommandState.UNKNOWN)],
        "legacy": str(Engine.DB),
        "pending": str(BulkItemState.PENDING),
        "ineligible": str(BulkItemState.INELIGIBLE),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CHECK.format(messages=messages, rules=rules), parameters)
    if is_replay:
        _check_inputs(job)


def _check_inputs(job: BulkJob) -> None:
    """Mark items whose input does not fit the version of the replay. At most MAX_CHECKED_INPUTS inputs are checked."""
    items = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, state=BulkItemState.PENDING)
    wanted = dict(items.order_by("position").values_list("target_id", "id")[:MAX_CHECKED_INPUTS])
    runs = Run.objects.filter(tenant_id=job.tenant_id, id__in=wanted.keys())
    version_of = "definition_version_id" if job.replay_version == ReplayVersion.PINNED else _PUBLISHED
    checker = PayloadChecker(job.tenant_id)
    refs: dict[Any, str] = {}
    refused: dict[Any, tuple[str, str]] = {}
    for run_id, given, version_id in runs.values_list("id", "input", version_of).iterator(chunk_size=100):
        if version_id is None:
            refused[wanted[run_id]] = ("DEFINITION_NOT_PUBLISHED", INELIGIBLE_REASONS["DEFINITION_NOT_PUBLISHED"])
            continue
        if version_id not in refs:
            version = DefinitionVersion.objects.get(tenant_id=job.tenant_id, id=version_id)
            refs[version_id] = version.document()["payloadSchemaRef"]
        problems = checker.problems(given, refs[version_id])
        if checker.is_exhausted:
            break
        if problems:
            text = f"the input does not fit {refs[version_id]}: {problems[0]['pointer'] or '/'}"
            refused[wanted[run_id]] = ("PAYLOAD_INVALID", f"{text} {problems[0]['message']}")
    now = timezone.now()
    for item_id, (code, message) in refused.items():
        items.filter(id=item_id).update(state=BulkItemState.INELIGIBLE, code=code, message=message, decided_at=now)
