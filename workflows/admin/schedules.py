"""Screens of schedules and holiday calendars (docs/reference/schedules.md#requests)."""

import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.decorators import display

from workflows.actors import Actor
from workflows.admin.author_pages import AuthorPages
from workflows.admin.base import actor_of, error_text, role_problem
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import ReasonForm, RequiredReasonForm
from workflows.admin.live import live_page
from workflows.admin.problem_filters import ScheduleProblemFilter
from workflows.admin.schedule_forms import BackfillForm, CalendarForm, ScheduleForm
from workflows.errors import PermissionRefused, PortalError
from workflows.models import HolidayCalendar, Schedule
from workflows.selectors.schedules import DOUBT_WORDS, SCHEDULE_PROBLEM_WORDS, Doubt, doubt_of
from workflows.selectors.versions import schedule_version, schedules_version
from workflows.services.schedules import control
from workflows.services.schedules.calendars import calendar_delete, calendar_save
from workflows.services.schedules.edit import (
    fields_of,
    require_no_problems,
    schedule_create,
    schedule_delete,
    schedule_update,
    schedule_warnings,
    set_fields,
)
from workflows.services.schedules.field_checks import ScheduleFields, schedule_problems
from workflows.services.schedules.selectors import NextTimes, occurrences_of, result_of, schedule_next_times
from workflows.services.schedules.times import next_times
from workflows.statuses import Role
from workflows.templatetags.pointsman import ago, moment, until
from workflows.templatetags.times import NO_TIME

SHOWN_OCCURRENCES = 20


@admin.register(Schedule)
class ScheduleAdmin(AuthorPages):
    page_template = "portal/schedule_page.html"
    list_title = "Schedules"
    list_about = "The times at which runs start. Temporal keeps the clock."
    list_empty = (
        "A schedule starts runs of a definition at its times. An author adds one here, or writes a trigger with a"
        " schedule into a definition."
    )
    list_display = ("name", "definition_label", "times_label", "state_label", "next_label", "last_label")
    search_fields = ("name", "definition__key")
    list_filter = (ScheduleProblemFilter,)
    ordering = ("definition__key", "name")
    list_select_related = ("definition", "calendar")

    @live_page(schedules_version)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        problem = SCHEDULE_PROBLEM_WORDS.get(request.GET.get("problem", ""), "")
        return super().changelist_view(request, {"chosen_problem": problem, **(extra_context or {})})

    @live_page(schedule_version)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, extra_context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Schedule]:
        return super().get_queryset(request).filter(removed_at__isnull=True)

    def get_urls(self) -> list[URLPattern]:
        views = {
            "pause": self.pause_view,
            "resume": self.resume_view,
            "trigger": self.trigger_view,
            "backfill": self.backfill_view,
        }
        own = [
            path(f"<uuid:pk>/{name}/", self.admin_site.admin_view(view), name=f"workflows_schedule_{name}")
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    @display(description="Definition", ordering="definition__key")
    def definition_label(self, row: Schedule) -> str:
        return row.definition.name

    @display(description="Times")
    def times_label(self, row: Schedule) -> str:
        return f"{row.cron} ({row.time_zone})" if row.cron else moment(row.run_at)

    @display(
        description="State",
        label={
            "active": "success", "paused": "warning", "unchecked": "warning", "failing": "danger", "missing": "danger"
        },
    )  # fmt: skip
    def state_label(self, row: Schedule) -> tuple[str, str]:
        return state_of(row)

    @display(description="Next", ordering="next_run_at")
    def next_label(self, row: Schedule) -> str:
        return until(row.next_run_at) if row.next_run_at else NO_TIME

    @display(description="Last", ordering="last_run_at")
    def last_label(self, row: Schedule) -> str:
        return ago(row.last_run_at)

    # -- The page and the form ---------------------------------------------------------------------------------------

    def form_for(self, actor: Actor, row: Schedule | None, data: Any) -> forms.Form:
        return ScheduleForm(actor, row, data)

    def _form_page(self, request: HttpRequest, row: Any, title: str) -> HttpResponse:
        """Show the form. If the user chose the preview, add the next times and save nothing."""
        if "preview" not in request.POST:
            return super()._form_page(request, row, title)
        actor = actor_of(request)
        form = ScheduleForm(actor, row, request.POST)
        preview = None
        if form.is_valid():
            try:
                preview = _preview(actor, row, form)
            except PortalError as error:
                self.add_errors(form, error)
        return self._page(request, row, title, form=form, preview=preview)

    def save_row(
        self, actor: Actor, row: Schedule | None, fields: dict[str, Any], key: str
    ) -> tuple[Schedule, list[str]]:
        given = {name: value for name, value in fields.items() if name != "definition"}
        if "run_at" in given:
            given["run_at"] = given["run_at"] or None
        if row is None:
            wanted = ScheduleFields(**given)
            saved = schedule_create(
                actor=actor, definition_key=fields["definition"], fields=wanted, idempotency_key=key
            )
        else:
            saved = schedule_update(actor=actor, schedule_id=row.id, changes=given, idempotency_key=key)
        warnings = schedule_warnings(saved)
        if saved.sync_error:
            warnings.append(f"Temporal does not have the change yet: {saved.sync_error['message']}")
        return saved, warnings

    def delete_row(self, actor: Actor, row: Schedule, key: str) -> None:
        schedule_delete(actor=actor, schedule_id=row.id, idempotency_key=key)

    def field_error(self, problem: dict[str, str]) -> tuple[str | None, str]:
        return problem["path"], f"{problem['path']} {problem['message']}"

    def row_context(self, actor: Actor, row: Schedule) -> dict[str, Any]:
        rows = occurrences_of(row).select_related("event").order_by("-scheduled_at")[:SHOWN_OCCURRENCES]
        found = schedule_next_times(row)
        return {
            "found": found,
            "warnings": schedule_warnings(row),
            # This page asks Temporal, so it knows of a difference before the reconciler has found it.
            "state": ("missing", DOUBT_WORDS[Doubt.MISSING]) if found.difference else state_of(row),
            "times": self.times_label(row),
            "occurrences": [(occurrence, result_of(occurrence)) for occurrence in rows],
            "may_start": actor.has_role(Role.OPERATOR),
        }

    # -- Commands ----------------------------------------------------------------------------------------------------

    def pause_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        note = "No run starts until the schedule is resumed. Times in the pause are not started later."
        form = RequiredReasonForm(request.POST or None)
        return self._step(request, pk, form, control.schedule_pause, "Pause", note, needs=Role.AUTHOR)

    def resume_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        note = "Runs start again from the next time of the schedule."
        form = ReasonForm(request.POST or None)
        return self._step(request, pk, form, control.schedule_resume, "Resume", note, needs=Role.AUTHOR)

    def trigger_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        note = "One run starts now, even if the schedule is paused or the day is closed. The overlap policy applies."
        form = ReasonForm(request.POST or None)
        return self._step(request, pk, form, control.schedule_trigger, "Start a run of", note, needs=Role.OPERATOR)

    def backfill_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        """On the first POST, show the number of runs. On the second POST, start them."""
        row, actor = self._get_or_404(request, str(pk)), actor_of(request)
        form = BackfillForm(request.POST or None)
        plan = None
        if request.method == "POST" and form.is_valid():
            given = {"actor": actor, "schedule_id": row.id, **form.cleaned_data}
            try:
                if "confirmed" in request.POST or not actor.has_role(Role.OPERATOR):
                    done = once(lambda: control.schedule_backfill(**given, idempotency_key=key_of(request)))
                    counts = done or Counter()
                    text = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
                    messages.info(request, f"The backfill is recorded: {text or 'no change'}.")
                    return HttpResponseRedirect(self._row_url(row))
                plan = control.schedule_backfill_preview(
                    actor=actor, schedule_id=row.id, start=given["start"], end=given["end"]
                )
            except PermissionRefused as error:
                raise PermissionDenied(error.message) from error
            except PortalError as error:
                form.add_error(None, error_text(error))
        refusal = role_problem(actor, Role.OPERATOR, to="start runs of past times")
        context = self.page_context(
            request, f"Backfill {row}", row=row, form=form, plan=plan, back=self._row_url(row), why_not=refusal
        )
        return TemplateResponse(request, "portal/schedule_backfill.html", context)

    def _step(
        self,
        request: HttpRequest,
        pk: uuid.UUID,
        form: forms.Form,
        change: Callable[..., Any],
        verb: str,
        note: str,
        *,
        needs: Role,
    ) -> HttpResponse:
        row = self._get_or_404(request, str(pk))
        if request.method == "POST" and form.is_valid():
            request_change = partial(
                change, actor=actor_of(request), schedule_id=row.id, reason=form.cleaned_data["reason"],
                idempotency_key=key_of(request),
            )  # fmt: skip
            try:
                once(request_change)
            except PermissionRefused as error:
                raise PermissionDenied(error.message) from error
            except PortalError as error:
                form.add_error(None, error_text(error))
            else:
                messages.info(request, "The request is accepted. The page shows its effect.")
                return HttpResponseRedirect(self._row_url(row))
        title = f"{verb} {row} of {row.definition.name}"
        context = self.page_context(
            request, title, form=form, back=self._row_url(row), button=f"{verb} the schedule", note=note,
            why_not=role_problem(actor_of(request), needs, to=f"{verb.lower()} a schedule"),
        )  # fmt: skip
        return TemplateResponse(request, "portal/form_page.html", context)

    def _row_url(self, row: Schedule) -> str:
        return reverse("admin:workflows_schedule_change", args=[row.id])


def state_of(row: Schedule) -> tuple[str, str]:
    """Return the state of a schedule and its text: `missing`, `unchecked`, `failing`, `paused` or `active`."""
    if doubt := doubt_of(row):
        return doubt.value, DOUBT_WORDS[doubt]
    if row.last_error:
        return "failing", "failing"
    definition = row.definition
    if definition.is_paused or definition.archived_at is not None or definition.published_version_id is None:
        return "paused", "paused with its definition"
    return ("paused", "paused") if row.is_paused else ("active", "active")


def _preview(actor: Actor, row: Schedule | None, form: ScheduleForm) -> dict[str, Any]:
    """Return the next times of the form. Errors: InputInvalid with the problems of the fields."""
    given = form.given()
    fields = ScheduleFields(**(given if row is None else {**vars(fields_of(row)), **given}))
    require_no_problems(schedule_problems(tenant_id=actor.tenant_id, definition=None, fields=fields))
    schedule = Schedule(tenant_id=actor.tenant_id)
    set_fields(schedule, fields)
    return {
        "found": NextTimes(next_times(schedule, now=timezone.now()), "portal"),
        "warnings": schedule_warnings(schedule),
    }


@admin.register(HolidayCalendar)
class HolidayCalendarAdmin(AuthorPages):
    page_template = "portal/calendar_page.html"
    list_title = "Holiday calendars"
    list_about = "Weekends and holidays for schedules that run only on business days"
    list_empty = "A schedule can leave out the days of a holiday calendar. Without one, Saturday and Sunday are closed."
    list_display = ("name", "count_label", "updated_label")
    search_fields = ("name",)
    ordering = ("name",)

    @display(description="Holidays")
    def count_label(self, row: HolidayCalendar) -> int:
        return len(row.holidays)

    @display(description="Changed", ordering="updated_at")
    def updated_label(self, row: HolidayCalendar) -> str:
        return ago(row.updated_at)

    def form_for(self, actor: Actor, row: HolidayCalendar | None, data: Any) -> forms.Form:
        initial = None if row is None else {name: getattr(row, name) for name in ("name", "weekend", "holidays")}
        return CalendarForm(data, initial=initial)

    def save_row(
        self, actor: Actor, row: HolidayCalendar | None, fields: dict[str, Any], key: str
    ) -> tuple[HolidayCalendar, list[str]]:
        calendar_id = None if row is None else row.id
        return calendar_save(actor=actor, calendar_id=calendar_id, idempotency_key=key, **fields), []

    def delete_row(self, actor: Actor, row: HolidayCalendar, key: str) -> None:
        calendar_delete(actor=actor, calendar_id=row.id, idempotency_key=key)

    def field_error(self, problem: dict[str, str]) -> tuple[str | None, str]:
        return problem["path"], f"{problem['path']} {problem['message']}"
