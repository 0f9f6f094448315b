"""The task inbox, and the page on which a person completes a task. Only services and the workflow change the rows."""

import json
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import display

from workflows import status_colours
from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import DecisionForm
from workflows.admin.problem_filters import DueFilter
from workflows.admin.task_form import TaskForm, properties_of
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.errors import PortalError
from workflows.models import HumanTask
from workflows.services.human_tasks import task_complete
from workflows.services.task_access import is_open
from workflows.services.task_holders import task_claim, task_release
from workflows.statuses import OPEN_TASK_STATUSES, Role
from workflows.templatetags.pointsman import moment, nowrap

AS_JSON = "json"


class DecisionFilter(DropdownFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("decisions", "Open decisions about unknown outcomes")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[HumanTask]) -> QuerySet[HumanTask]:
        if self.value() != "decisions":
            return queryset
        return queryset.filter(task_type=DECIDE_OUTCOME, status__in=OPEN_TASK_STATUSES)


@admin.register(HumanTask)
class TaskAdmin(TenantAdmin):
    list_display = ("status_label", "title", "task_type", "claimed_label", "due_label", "created_label", "run_label")
    list_display_links = ("status_label", "title")
    list_filter = (("status", ChoicesDropdownFilter), DueFilter, DecisionFilter)
    list_filter_submit = True
    search_fields = ("title", "task_type")
    list_select_related = ("run", "claimed_by")
    ordering = ("-created_at",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Tasks", **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:pk>/claim/", wrap(self.claim_view), name="workflows_humantask_claim"),
            path("<uuid:pk>/release/", wrap(self.release_view), name="workflows_humantask_release"),
            *super().get_urls(),
        ]

    @display(description="Status", ordering="status", label=status_colours.TASK)
    def status_label(self, task: HumanTask) -> tuple[str, str]:
        return task.status, task.get_status_display()

    @display(description="Claimed by")
    def claimed_label(self, task: HumanTask) -> str:
        return task.claimed_by.get_username() if task.claimed_by else ""

    @display(description="Due", ordering="due_at")
    def due_label(self, task: HumanTask) -> str:
        return moment(task.due_at) if task.due_at else ""

    @display(description="Opened", ordering="created_at")
    def created_label(self, task: HumanTask) -> str:
        return moment(task.created_at)

    @display(description="Run")
    def run_label(self, task: HumanTask) -> str:
        return nowrap(f"{task.run.definition_key} {task.run.correlation_key}")

    # -- One task ----------------------------------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        task = self.get_object(request, object_id)
        if task is None:
            raise Http404(f"There is no task {object_id}.")
        actor = actor_of(request)
        is_json = AS_JSON in request.GET or "response" in request.POST
        form = _response_form(task, request, is_json=is_json)
        refusal = ""
        if request.method == "POST" and form.is_valid():
            try:
                once(partial(_complete, request, task, form))
            except PortalError as error:
                refusal = error_text(error)
                form.add_error(None, refusal)
            else:
                messages.success(
                    request,
                    "The run has received the response. The task is completed when the workflow has recorded it.",
                )
                return HttpResponseRedirect(reverse("admin:workflows_run_change", args=[task.run_id]))
        task.refresh_from_db()
        may_act = actor.has_role(Role.OPERATOR) and HumanTask.objects.filter(is_open(), id=task.id).exists()
        if refusal and not may_act:
            messages.error(request, refusal)  # the page has no form that could show the refusal
        context = self.page_context(
            request,
            task.title,
            task=task,
            is_decision=task.task_type == DECIDE_OUTCOME,
            form=form,
            is_json=is_json,
            has_fields=bool(properties_of(task.form_schema)),
            may_act=may_act,
            is_mine=str(task.claimed_by_id) == actor.id,
            form_text=json.dumps(task.form_schema, indent=2, ensure_ascii=False) if task.form_schema else "",
        )
        return TemplateResponse(request, "portal/task_page.html", context)

    def claim_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        return self._change(request, pk, task_claim, "You have claimed the task.")

    def release_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        return self._change(request, pk, task_release, "The task is released. Every operator may claim it.")

    def _change(self, request: HttpRequest, pk: uuid.UUID, change: Callable[..., HumanTask], done: str) -> HttpResponse:
        actor: Actor = actor_of(request)
        back = HttpResponseRedirect(reverse("admin:workflows_humantask_change", args=[pk]))
        if request.method != "POST":
            return back
        try:
            once(partial(change, actor=actor, task_id=pk, idempotency_key=key_of(request)))
        except PortalError as error:
            if error.status == 404:
                raise Http404(error.message) from error
            messages.error(request, error_text(error))
        else:
            messages.success(request, done)
        return back


def _response_form(task: HumanTask, request: HttpRequest, *, is_json: bool) -> TaskForm | DecisionForm:
    data = request.POST if request.method == "POST" else None
    if task.task_type == DECIDE_OUTCOME:
        return DecisionForm(data)
    return TaskForm(task.form_schema, data, is_json=is_json)


def _complete(request: HttpRequest, task: HumanTask, form: TaskForm | DecisionForm) -> None:
    task_complete(
        actor=actor_of(request),
        task_id=task.id,
        response=form.task_response(),
        reason=form.cleaned_data["reason"],
        idempotency_key=key_of(request),
    )
