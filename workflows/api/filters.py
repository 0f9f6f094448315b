"""Query filters of the API lists."""

import uuid
from typing import Any

import django_filters
from django.db.models import Q, QuerySet

from workflows.api.query import MomentFilter, WholeNumberFilter
from workflows.models import Command, Definition, HumanTask, Run, RunLog
from workflows.selectors.incidents import runs_of_incident
from workflows.selectors.run_logs import lines_at_level
from workflows.selectors.run_search import runs_of_event, runs_with_key
from workflows.statuses import (
    CommandAction,
    CommandState,
    DefinitionState,
    LogLevel,
    RunStatus,
    TaskStatus,
    TriggerType,
)

# The state of a definition as `Definition.state` computes it.
_LIVE = Q(archived_at__isnull=True)
STATE_FILTERS = {
    DefinitionState.ARCHIVED: ~_LIVE,
    DefinitionState.PAUSED: _LIVE & Q(is_paused=True),
    DefinitionState.PUBLISHED: _LIVE & Q(is_paused=False, published_version__isnull=False),
    DefinitionState.DRAFT: _LIVE & Q(is_paused=False, published_version__isnull=True),
}


class RunFilter(django_filters.FilterSet):
    status = django_filters.MultipleChoiceFilter(choices=RunStatus.choices, distinct=False)
    definition = django_filters.CharFilter(field_name="definition_key")
    version = WholeNumberFilter()
    trigger_type = django_filters.ChoiceFilter(choices=TriggerType.choices)
    error_category = django_filters.CharFilter()
    parent_run = django_filters.UUIDFilter(field_name="parent_run_id")
    root_run = django_filters.UUIDFilter(field_name="root_run_id")
    correlation_key = django_filters.CharFilter(
        method="by_key", help_text="Correlation key of the event that started the run, or of a wait of the run."
    )
    event_id = django_filters.CharFilter(method="by_event", help_text="Id of an event that started or resumed the run.")
    incident = WholeNumberFilter(
        method="by_incident", help_text="Number of an incident. Replays are shown with their originals."
    )
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Run
        fields: list[str] = []

    def __init__(self, *args: Any, tenant_id: uuid.UUID | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tenant_id = tenant_id or (self.request and self.request.auth.tenant_id)

    def by_key(self, runs: QuerySet[Run], _name: str, value: str) -> QuerySet[Run]:
        return runs_with_key(runs, tenant_id=self.tenant_id, key=value)

    def by_event(self, runs: QuerySet[Run], _name: str, value: str) -> QuerySet[Run]:
        return runs_of_event(runs, tenant_id=self.tenant_id, event_id=value)

    def by_incident(self, runs: QuerySet[Run], _name: str, value: int) -> QuerySet[Run]:
        return runs_of_incident(runs, tenant_id=self.tenant_id, number=value)


class RunLogFilter(django_filters.FilterSet):
    level = django_filters.ChoiceFilter(
        choices=LogLevel.choices, method="by_level", help_text="Lowest level: `warning` returns warnings and errors."
    )
    step_path = django_filters.CharFilter()
    at_after = MomentFilter(field_name="at", lookup_expr="gte")
    at_before = MomentFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = RunLog
        fields: list[str] = []

    def by_level(self, lines: QuerySet[RunLog], _name: str, value: str) -> QuerySet[RunLog]:
        return lines_at_level(lines, value)


class CommandFilter(django_filters.FilterSet):
    target = django_filters.CharFilter(field_name="target_id")
    actor = django_filters.CharFilter(field_name="actor_name")
    action = django_filters.ChoiceFilter(choices=CommandAction.choices)
    state = django_filters.MultipleChoiceFilter(choices=CommandState.choices, distinct=False)
    code = django_filters.CharFilter()
    requested_after = MomentFilter(field_name="requested_at", lookup_expr="gte")
    requested_before = MomentFilter(field_name="requested_at", lookup_expr="lt")
    parent = django_filters.UUIDFilter(field_name="parent_id", help_text="Command of the bulk job.")

    class Meta:
        model = Command
        fields: list[str] = []


class DefinitionFilter(django_filters.FilterSet):
    state = django_filters.MultipleChoiceFilter(choices=DefinitionState.choices, method="by_state")
    owner = django_filters.CharFilter()

    class Meta:
        model = Definition
        fields: list[str] = []

    def by_state(self, definitions: QuerySet[Definition], _name: str, values: list[str]) -> QuerySet[Definition]:
        found = Q()
        for value in values:
            found |= STATE_FILTERS[DefinitionState(value)]
        return definitions.filter(found)


class TaskFilter(django_filters.FilterSet):
    status = django_filters.MultipleChoiceFilter(choices=TaskStatus.choices, distinct=False)
    run = django_filters.UUIDFilter(field_name="run_id")
    task_type = django_filters.CharFilter()
    claimed_by = django_filters.CharFilter(field_name="claimed_by__username")
    due_before = MomentFilter(field_name="due_at", lookup_expr="lt")

    class Meta:
        model = HumanTask
        fields: list[str] = []
