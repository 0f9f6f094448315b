"""Facts about the start of a run. They are stored in the memo of the run's workflow and read again for a rebuild.

The memo contains the facts that the workflow's input does not contain. With the memo and the input, the row can be
rebuilt from Temporal alone.

Source: docs/reference/projections.md#rows
"""

import uuid
from datetime import datetime
from typing import Any

from workflows.models import DefinitionVersion, Event, Run
from workflows.statuses import TriggerType
from workflows.temporal.contracts import RunInput


class OriginUnknown(Exception):
    """The row cannot be rebuilt, because it refers to a row that is missing.

    An operator must restore the missing row.
    """


def run_origin(run: Run) -> dict[str, Any]:
    """Return the memo for the workflow of this run."""
    return {
        "triggerType": str(run.trigger_type),
        "triggerMetadata": run.trigger_metadata,
        "correlationKey": run.correlation_key,
        "replayOf": str(run.replay_of_id) if run.replay_of_id else None,
        "parentStepPath": run.parent_step_path,
        "requestedBy": run.requested_by,
        "createdAt": run.created_at.isoformat(),
        **({"concurrencyKey": run.concurrency_key} if run.concurrency_key else {}),
    }


def run_facts(given: RunInput, origin: dict[str, Any], *, workflow_id: str) -> dict[str, Any]:
    """Return the fields of the row that are known when the run starts, by column name.

    Errors: OriginUnknown if the definition version, or the event that started the run, is missing.
    """
    tenant_id = uuid.UUID(given.tenant_id)
    version = (
        DefinitionVersion.objects.select_related("definition")
        .filter(tenant_id=tenant_id, definition__key=given.definition_key, version=given.version)
        .filter(definition_hash=given.definition_hash)  # a deleted definition can have had the same key
        .first()
    )
    if version is None:
        raise OriginUnknown(f"the definition version {given.definition_key}@{given.version} is missing")
    event = Event.objects.filter(tenant_id=tenant_id, event_id=given.trigger_event_id, occupies_id=True).first()
    if event is None and given.trigger_event_id:
        raise OriginUnknown(f"the event {given.trigger_event_id} is missing")
    facts = {
        "definition_id": version.definition_id,
        "definition_version_id": version.id,
        "definition_key": given.definition_key,
        "version": given.version,
        "definition_hash": given.definition_hash,
        "semantics_version": given.semantics_version,
        "event_id": event.id if event else None,
        "parent_run_id": uuid.UUID(given.parent_run_id) if given.parent_run_id else None,
        "root_run_id": uuid.UUID(given.root_run_id) if given.root_run_id else None,
        "temporal_workflow_id": workflow_id,
        "input": given.payload,
    }
    return facts | (_from_memo(origin) if origin else {})


def _from_memo(origin: dict[str, Any]) -> dict[str, Any]:
    return {
        "trigger_type": origin["triggerType"],
        "trigger_metadata": origin["triggerMetadata"],
        "correlation_key": origin["correlationKey"],
        "replay_of_id": uuid.UUID(origin["replayOf"]) if origin["replayOf"] else None,
        "parent_step_path": origin["parentStepPath"],
        "requested_by": origin["requestedBy"],
        "created_at": datetime.fromisoformat(origin["createdAt"]),
        "concurrency_key": origin.get("concurrencyKey", ""),
    }


def run_guesses(given: RunInput, *, started_at: datetime) -> dict[str, Any]:
    """Return likely values for the missing row of a run without a memo.

    The values come from the run's input and its start time.
    """
    by_event = TriggerType.EVENT if given.trigger_event_id else TriggerType.MANUAL
    return {
        "trigger_type": TriggerType.CHILD if given.parent_run_id else by_event,
        "requested_by": f"run {given.parent_run_id}" if given.parent_run_id else "",
        "created_at": started_at,
    }
