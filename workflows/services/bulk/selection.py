"""Selection of a bulk job. This module makes its description for the job's row and its text for a person.

It also refuses a selection of all runs that was not intended.

Shapes of a selection: `{"filters": {...}}` with the filters of `GET /runs`; `{"list": {...}}` with the query parameters
of the run list; `{"ids": 3, "sha256": "..."}` for single runs. With `{"job": "...", "outcome": "failed"}`, these runs
come from an earlier bulk job.
"""

import hashlib
import uuid
from typing import Any

from workflows.errors import InputInvalid
from workflows.models import BulkJob
from workflows.selectors.run_list import REPLAY_CHOICES
from workflows.statuses import BulkOutcome, RunStatus

MOST_WITHOUT_FILTER = 100
ALL_RUNS = "all runs of the tenant"
WORDS = {
    "q": "the search finds",
    "status": "status is",
    "definition": "definition is",
    "version": "version is",
    "trigger_type": "trigger is",
    "error_category": "error category is",
    "correlation_key": "correlation key is",
    "event_id": "event id is",
    "incident": "incident is",
    "problem": "problem is",
    "parent_run": "parent run is",
    "root_run": "root run is",
    "created_after": "created at or after",
    "created_before": "created before",
    "created_at_from": "created at or after",
    "created_at_to": "created at or before",
    "key": "the correlation key begins with",
    "waits_for": "an open wait has the event type",
    "state": "state is",
    "error_code": "error code is",
    "failed_step": "failed step is",
    "current_step": "current step is",
    "started": "created within the last",
    "age": "open for more than",
    "replays": "",  # the words of a choice are the condition
}


def selection_of_ids(ids: list[uuid.UUID]) -> dict[str, Any]:
    """Return a short description of a list of ids for the job's row. The ids themselves are in the items."""
    return {"ids": len(ids), "sha256": hashlib.sha256("".join(map(str, ids)).encode()).hexdigest()}


def selection_in_words(job: BulkJob) -> str:
    """Return the selection of a job as a text.

    The text has each condition in words, or says that all runs are selected.
    """
    chosen = _filters(job.selection)
    if chosen is None and "job" in job.selection:
        outcome = job.selection.get("outcome")
        which = f" with the outcome {BulkOutcome(outcome).label.lower()}" if outcome in BulkOutcome.values else ""
        return f"{job.total} run{'' if job.total == 1 else 's'} of an earlier bulk job{which}"
    if chosen is None:
        return f"{job.total} single run{'' if job.total == 1 else 's'}"
    conditions: dict[str, list[str]] = {}
    for name, values in chosen.items():
        name = name.removesuffix("__exact")
        if name.endswith(("_0", "_1")):  # the two fields of one moment: date and time
            name = name[:-2]
            conditions[name] = [" ".join([*conditions.get(name, []), *map(str, values)])]
        else:
            conditions[name] = [_word(name, value) for value in (values if isinstance(values, list) else [values])]
    texts = [f"{WORDS.get(name, f'{name} is')} {' or '.join(values)}".strip() for name, values in conditions.items()]
    return ", and ".join(texts) or ALL_RUNS


def _word(name: str, value: Any) -> str:
    if name == "status" and value in RunStatus.values:
        return RunStatus(value).label.lower()
    if name == "replays":
        return REPLAY_CHOICES.get(value, str(value))
    return f"INC-{value}" if name == "incident" else str(value)


def refuse_unintended_all(selection: dict[str, Any], number: int, *, all_runs: bool) -> None:
    """Refuse a job with many runs and without a filter, unless its requester explicitly chose all runs.

    Errors: InputInvalid BULK_ALL_RUNS. The requester must act.
    """
    if not has_no_condition(selection) or all_runs or number <= MOST_WITHOUT_FILTER:
        return
    raise InputInvalid(
        f"The selection has no filter and contains {number} runs, which are all runs of the tenant. Above "
        f"{MOST_WITHOUT_FILTER} runs this must be chosen explicitly. Add a filter, or choose all runs.",
        code="BULK_ALL_RUNS",
        details={"runs": number, "limit": MOST_WITHOUT_FILTER},
    )


def has_no_condition(selection: dict[str, Any]) -> bool:
    """Return True if a selection has all runs of the tenant, because it has neither a filter nor ids."""
    return _filters(selection) == {}


def _filters(selection: dict[str, Any]) -> dict[str, Any] | None:
    chosen = selection.get("list", selection.get("filters"))
    return {} if chosen is None and "ids" not in selection else chosen
