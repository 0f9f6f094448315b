"""Rows of the command palette that a person names by their words or by their id: definitions, tasks, schedules, others.

Source: docs/reference/screens.md#command-palette
"""

import uuid
from collections import defaultdict
from typing import Any

from django.db.models import Case, CharField, F, Q, QuerySet, Value, When
from django.db.models.functions import Cast, Coalesce, Concat, NullIf

from workflows.models import BulkJob, Command, Definition, HumanTask, Incident, Schedule
from workflows.selectors.incidents import incident_number
from workflows.selectors.run_search import id_begins_with
from workflows.statuses import ACTIVE_INCIDENT_STATES, OPEN_TASK_STATUSES

# No index has the words of a title. So they are searched only in these open tasks, the first by due time.
MOST_TASKS = 500
OPEN_TASK = "open task"
TEXT = CharField()


def named_rows(*, tenant_id: uuid.UUID, term: str, number: int) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each model by its name. Each model has at most `number` rows.

    A definition or schedule is found by a part of its name, an open task by a part of its title or of the key of its
    run, and an active incident by its error code or step. All of them, bulk jobs and commands are found by the
    beginning of their id, and an incident by its number.

    Shapes: a row has `id`, `title` and `note`. Cost: one statement.
    """
    own, has_id = {"tenant_id": tenant_id}, id_begins_with(term)
    tasks = HumanTask.objects.filter(**own)
    first_open = tasks.filter(status__in=OPEN_TASK_STATUSES).order_by("due_at", "id")
    of_run = Concat("run__correlation_key", Value("\n"), "run__definition__name")
    in_incident = Q(error_code__icontains=term) | Q(step_name__icontains=term) | Q(step_id__icontains=term)
    step = Coalesce(NullIf("step_name", Value("")), F("step_id"))
    parts = [
        _part("incident", Incident.objects.filter(**own, merged_into__isnull=True).filter(
            Q(in_incident, state__in=ACTIVE_INCIDENT_STATES) | has_id | Q(number=incident_number_of(term) or 0)
        ).order_by("-last_failed_at"), Concat(Value("INC-"), Cast("number", TEXT)),
            Concat("definition__name", Value(": "), step, Value(" "), "error_code")),
        _part("definition", Definition.objects.filter(**own).filter(
            Q(name__icontains=term) | Q(key__icontains=term) | has_id
        ).order_by("name"), F("name"), F("key")),
        _part("humantask", tasks.filter(has_id), F("title"), of_run),
        _part("schedule", Schedule.objects.filter(**own, removed_at__isnull=True).filter(
            Q(name__icontains=term) | has_id
        ).order_by("name"), F("name"), Concat(
            "definition__name", Case(When(is_paused=True, then=Value(", paused")), default=Value("")))),
        _part("bulkjob", BulkJob.objects.filter(**own).filter(has_id), F("action"), Cast("id", TEXT)),
        _part("command", Command.objects.filter(**own).filter(has_id), F("action"), F("actor_name")),
    ]  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    first, *others = [rows[:number] for rows in parts]
    # With a condition on their texts, PostgreSQL may read all tasks of the tenant.
    others.append(_part(OPEN_TASK, first_open, F("title"), of_run)[:MOST_TASKS])
    for model, row_id, title, note in first.union(*others, all=True):
        key, _, name = note.rpartition("\n")
        if model != OPEN_TASK or any(term.casefold() in text.casefold() for text in (title, key)):
            shown = f"{key} {name}".strip()
            found["humantask" if model == OPEN_TASK else model].append({"id": row_id, "title": title, "note": shown})
    return defaultdict(list, {model: rows[:number] for model, rows in found.items()})


def incident_number_of(term: str) -> int | None:
    """Return the number of a text like `INC-118`, or None."""
    return incident_number(term) if term[:4].upper() == "INC-" else None


def _part(model: str, rows: QuerySet[Any], title: Any, note: Any) -> QuerySet[Any]:
    return rows.annotate(
        palette_model=Value(model), palette_title=Cast(title, TEXT), palette_note=Cast(note, TEXT)
    ).values_list("palette_model", "id", "palette_title", "palette_note")
