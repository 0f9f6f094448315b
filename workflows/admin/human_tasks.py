"""The task inbox, and the page on which a person completes a task. Only services and the workflow change the rows."""

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import AssignForm
from workflows.admin.list_filters import show_problems
from workflows.admin.live import live_page
from workflows.admin.task_context import shown_value
from workflows.admin.task_fields import ROOT, Typed
from workflows.admin.task_form import TaskForm, is_form_name, with_row, without_row
from workflows.admin.task_inbox import inbox_context
from workflows.admin.task_page import (
    assignees_of,
    decision_fields,
    due_tone,
    facts_of_decision,
    has_unchecked_output,
    readable_context,
    schema_of,
)
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.errors import PortalError
from workflows.json_numbers import write_json
from workflows.models import HumanTask
from workflows.redaction import redact_task, rules_in
from workflows.selectors.versions import tasks_version
from workflows.services.human_tasks import task_complete
from workflows.services.task_access import require_may_act, require_open
from workflows.services.task_drafts import task_draft_of, task_draft_save
from workflows.services.task_holders import task_assign, task_claim, task_release
from workflows.statuses import Role

AS_JSON = "json"
SENT = "The run has received the response. The task is completed when the workflow has recorded it."
FITS = "The response fits the form. It was not sent. Your draft is saved."
UNCHECKED = " The output itself is not checked, because the form has no output schema."


@admin.register(HumanTask)
class TaskAdmin(TenantAdmin):
    def get_queryset(self, request: HttpRequest) -> QuerySet[HumanTask]:
        return super().get_queryset(request).select_related("run__definition", "claimed_by")

    def get_urls(self) -> list[URLPattern]:
        views = {
            "claim": self.claim_view,
            "release": self.release_view,
            "assign": self.assign_view,
            "draft": self.draft_view,
        }
        own = [
            path(f"<uuid:pk>/{name}/", self.admin_site.admin_view(view), name=f"workflows_humantask_{name}")
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    @live_page(tasks_version)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the inbox with its first task. On a phone, the page shows only the list."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        inbox = inbox_context(request)
        if inbox["problems"]:
            show_problems(request, inbox["problems"])
        first = next(iter(inbox["page"].rows), None)
        task = None if first is None else self.get_object(request, str(first.id))
        context = {} if task is None else self._task_context(request, task, _first_form(request, task))
        context = self.page_context(request, "Tasks", **inbox, **context, is_list=True)
        return TemplateResponse(request, "portal/task_page.html", context, status=400 if inbox["problems"] else 200)

    # -- One task ----------------------------------------------------------------------------------------------------

    @live_page(tasks_version)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        task = self.get_object(request, object_id)
        if task is None:
            raise Http404(f"There is no task {object_id}.")
        form = _first_form(request, task)
        if request.method == "POST":
            form = _posted_form(request, task)
            done = self._posted(request, task, form)
            if done is not None:
                return done
            task.refresh_from_db()
        inbox = inbox_context(request)
        context = self.page_context(request, task.title, **inbox, **self._task_context(request, task, form))
        return TemplateResponse(request, "portal/task_page.html", context)

    def _posted(self, request: HttpRequest, task: HumanTask, form: TaskForm) -> HttpResponse | None:
        """Send or check the response. Return None if the page is shown again, with what was typed."""
        if "add" in request.POST or "remove" in request.POST or not form.is_valid():
            return None
        try:
            if "check" in request.POST:
                task_draft_save(actor=actor_of(request), task_id=task.id, typed=_typed(request))
                messages.success(request, FITS + (UNCHECKED if has_unchecked_output(task, form) else ""))
                return None
            once(partial(_complete, request, task, form))
        except PortalError as error:
            form.add_error(error_text(error))
            if _why_not(actor_of(request), task):
                messages.error(request, error_text(error))  # the page has no form that could show the refusal
            return None
        messages.info(request, SENT)
        return HttpResponseRedirect(reverse("admin:workflows_run_change", args=[task.run_id]))

    def _task_context(self, request: HttpRequest, task: HumanTask, form: TaskForm) -> dict[str, Any]:
        actor = actor_of(request)
        is_decision = task.task_type == DECIDE_OUTCOME
        context, response = None, None
        rules = rules_in(request.tenant)  # type: ignore[attr-defined]
        if actor.sees_payloads:
            context = redact_task(task, task.context_data, rules, "/contextData")
            response = redact_task(task, task.response, rules, "/response")
        return {
            "task": task,
            "form": form,
            "is_decision": is_decision,
            "facts": facts_of_decision(task, context, rules=rules) if is_decision and context else None,
            "readable": readable_context(context) if context and not is_decision else None,
            "context_text": write_json(context, indent=2, ensure_ascii=False) if context else "",
            "response": shown_value(response) if response is not None else None,
            "is_json": (form.root is None and ROOT in form.typed) or AS_JSON in request.GET,
            "has_fields": TaskForm(task.form_schema).root is not None and not is_decision,
            "why_not": _why_not(actor, task),
            "may_claim": actor.has_role(Role.OPERATOR) and not _closed(task),
            "is_mine": str(task.claimed_by_id) == actor.id,
            "draft": task_draft_of(actor=actor, task=task),
            "tone": due_tone(task),
            "assignees": assignees_of(task),
            "run_label": f"{task.run.definition.name} {task.run.correlation_key}",
            "was_posted": request.method == "POST" and not {"add", "remove"} & set(request.POST),
        }

    def claim_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        return self._change(request, pk, task_claim, "You have claimed the task.")

    def release_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        return self._change(request, pk, task_release, "The task is released. Every operator may claim it.")

    def assign_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        task = self.get_object(request, str(pk))
        if task is None:
            raise Http404(f"There is no task {pk}.")
        actor = actor_of(request)
        form = AssignForm(actor.tenant_id, request.POST if request.method == "POST" else None)
        if request.method == "POST" and (form.is_valid() or not actor.has_role(Role.OPERATOR)):
            assign = partial(task_assign, username=request.POST.get("username", ""))
            return self._change(request, pk, assign, "The task is assigned.")
        if not actor.has_role(Role.OPERATOR):
            messages.error(request, f"You need the role {Role.OPERATOR} to assign tasks.")
            return HttpResponseRedirect(_page_of(pk))
        context = self.page_context(
            request,
            "Assign the task",
            form=form,
            back=_page_of(pk),
            button="Assign the task",
            note="Only this member or an administrator can then complete the task.",
        )
        return TemplateResponse(request, "portal/form_page.html", context)

    def draft_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        """Store what was typed. The script of the page calls this address."""
        if request.method != "POST":
            return HttpResponseRedirect(_page_of(pk))
        try:
            saved_at = task_draft_save(actor=actor_of(request), task_id=pk, typed=_typed(request))
        except PortalError as error:
            if error.status == 404:
                raise Http404(error.message) from error
            return JsonResponse({"error": error_text(error)}, status=error.status)
        return JsonResponse({"saved_at": saved_at.isoformat()})

    def _change(self, request: HttpRequest, pk: uuid.UUID, change: Callable[..., HumanTask], done: str) -> HttpResponse:
        actor: Actor = actor_of(request)
        back = HttpResponseRedirect(_page_of(pk))
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


def _typed(request: HttpRequest) -> dict[str, list[str]]:
    return {name: [str(value) for value in values] for name, values in request.POST.lists() if is_form_name(name)}


def _first_form(request: HttpRequest, task: HumanTask) -> TaskForm:
    """Return the form with the member's draft. Nothing is checked."""
    draft = task_draft_of(actor=actor_of(request), task=task)
    return _form(request, task, draft.typed if draft else {})


def _posted_form(request: HttpRequest, task: HumanTask) -> TaskForm:
    typed = _typed(request)
    if "add" in request.POST:
        typed = with_row(typed, request.POST["add"])
    elif "remove" in request.POST:
        typed = without_row(typed, request.POST["remove"])
    return _form(request, task, typed)


def _form(request: HttpRequest, task: HumanTask, typed: Typed) -> TaskForm:
    is_json = AS_JSON in request.GET or ROOT in typed
    form = TaskForm(schema_of(task), typed, is_json=is_json and task.task_type != DECIDE_OUTCOME)
    if task.task_type == DECIDE_OUTCOME:
        decision_fields(form)
    return form


def _why_not(actor: Actor, task: HumanTask) -> str:
    """Return the reason why this actor cannot complete the task now, or an empty text."""
    if not actor.has_role(Role.OPERATOR):
        return f"You need the role {Role.OPERATOR} to complete tasks."
    try:
        require_open(task)
        require_may_act(actor, task, to="complete tasks")
    except PortalError as error:
        return f"{error.message[:1].upper()}{error.message[1:]}."
    return ""


def _closed(task: HumanTask) -> bool:
    try:
        require_open(task)
    except PortalError:
        return True
    return False


def _page_of(task_id: uuid.UUID) -> str:
    return reverse("admin:workflows_humantask_change", args=[task_id])


def _complete(request: HttpRequest, task: HumanTask, form: TaskForm) -> None:
    task_complete(
        actor=actor_of(request),
        task_id=task.id,
        response=form.task_response(),
        reason=form.reason,
        idempotency_key=key_of(request),
    )
