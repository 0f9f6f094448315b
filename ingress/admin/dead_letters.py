"""Redelivering and discarding, one or many: a page that says what will happen, and after it what has happened."""

import uuid
from copy import copy
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldAdminTextInputWidget

from ingress.dead_letters.selectors import deliveries_forecast
from ingress.dead_letters.services import MAX_DELIVERIES, deliveries_discard, deliveries_redeliver
from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.forms import ReasonForm
from workflows.errors import PortalError
from workflows.models import EventDelivery
from workflows.statuses import CommandAction, Role

_PAGES = {
    CommandAction.REDELIVER: {
        "verb": "Redeliver",
        "action": "redeliver_many",
        "note": "Each delivery is tried anew, from its first attempt on, by itself. Nothing that was done is done twice: a run "
        "takes an event once, and a start that has happened is not repeated.",
    },
    CommandAction.DISCARD: {
        "verb": "Discard",
        "action": "discard_many",
        "note": "Each delivery is settled for good: nothing is sent, no run gets the event by it. This cannot be undone.",
    },
}


class DiscardForm(forms.Form):
    reason = forms.CharField(
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Kept on the delivery and in the command ledger, for whoever asks later.",
    )


class DeadLetterViews(TenantAdmin):
    """The views and actions of `DeliveryAdmin` that change something, all through the services."""

    def __init__(self, model: Any, admin_site: Any) -> None:
        super().__init__(model, admin_site)
        self.opts: Any = copy(model._meta)  # headings would say "event deliverys"
        self.opts.verbose_name, self.opts.verbose_name_plural = "delivery", "deliveries"

    def page_context(self, request: HttpRequest, title: str, **more: Any) -> dict[str, Any]:
        return super().page_context(request, title, opts=self.opts, **more)

    def has_act_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).has_role(Role.OPERATOR)

    @admin.action(description="Redeliver…", permissions=["act"])
    def redeliver_many(self, request: HttpRequest, queryset: QuerySet[EventDelivery]) -> HttpResponse | None:
        return self._many(request, queryset, CommandAction.REDELIVER)

    @admin.action(description="Discard…", permissions=["act"])
    def discard_many(self, request: HttpRequest, queryset: QuerySet[EventDelivery]) -> HttpResponse | None:
        return self._many(request, queryset, CommandAction.DISCARD)

    def one_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path(f"<uuid:pk>/{action}/", wrap(self._one), {"action": action}, name=f"workflows_eventdelivery_{action}")
            for action in _PAGES
        ]

    def _one(self, request: HttpRequest, pk: uuid.UUID, action: CommandAction) -> HttpResponse:
        """GET asks, POST does. A refusal is told with its code."""
        delivery = self.get_object(request, str(pk))
        if delivery is None:
            raise Http404("there is no such delivery")
        form = _form(action, request.POST or None)
        if request.method != "POST" or not form.is_valid():
            return self._ask(request, [pk], action, form, back=event_page_of(delivery))
        try:
            answer = _carry_out(request, action, [pk], form.cleaned_data["reason"])
        except PortalError as error:
            messages.error(request, f"{error.code}: {error.message}")
            return HttpResponseRedirect(event_page_of(delivery))
        (result,) = answer["results"]
        if result["code"]:
            messages.error(request, f"{result['code']}: {result['message']}")
        else:
            messages.success(request, f"The delivery is {result['result']}.")
        return HttpResponseRedirect(event_page_of(delivery))

    def _many(
        self, request: HttpRequest, queryset: QuerySet[EventDelivery], action: CommandAction
    ) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            ids = list(queryset.order_by("created_at").values_list("id", flat=True)[: MAX_DELIVERIES + 1])
            if len(ids) > MAX_DELIVERIES:
                self.message_user(request, f"Choose at most {MAX_DELIVERIES} deliveries at a time.", messages.ERROR)
                return None
            return self._ask(request, ids, action, _form(action, None))
        # Those that were shown, whatever the list's filter would find by now.
        ids = [uuid.UUID(text) for text in request.POST.getlist(ACTION_CHECKBOX_NAME)]
        form = _form(action, request.POST)
        if not form.is_valid():
            return self._ask(request, ids, action, form)
        try:
            answer = _carry_out(request, action, ids, form.cleaned_data["reason"])
        except PortalError as error:
            self.message_user(request, f"{error.code}: {error.message}", messages.ERROR)
            return None
        rows = self._rows(request, answer["results"])
        done = sum(1 for row in rows if not row["code"])
        context = self.page_context(request, "Dead letters", rows=rows, done=done, verb=_PAGES[action]["verb"].lower())
        return TemplateResponse(request, "portal/dead_letters_results.html", context)

    def _ask(
        self, request: HttpRequest, ids: list[uuid.UUID], action: CommandAction, form: forms.Form, back: str = ""
    ) -> TemplateResponse:
        """With the dry run of a redelivery: what each would come to now."""
        rows = self._rows(request, deliveries_forecast(tenant_id=actor_of(request).tenant_id, delivery_ids=ids))
        context = self.page_context(
            request,
            f"{_PAGES[action]['verb']} {len(ids)} deliver{'y' if len(ids) == 1 else 'ies'}?",
            page=_PAGES[action],
            rows=rows,
            eligible=sum(1 for row in rows if not row["code"]),
            form=form,
            is_one=bool(back),
            is_redelivery=action == CommandAction.REDELIVER,
            back=back or reverse("admin:workflows_eventdelivery_changelist"),
        )
        return TemplateResponse(request, "portal/dead_letters_confirm.html", context)

    def _rows(self, request: HttpRequest, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = self.get_queryset(request).in_bulk([result["id"] for result in results])
        return [{**result, "delivery": found.get(uuid.UUID(result["id"]))} for result in results]


def _form(action: CommandAction, data: Any) -> forms.Form:
    return ReasonForm(data) if action == CommandAction.REDELIVER else DiscardForm(data)


def _carry_out(request: HttpRequest, action: CommandAction, ids: list[uuid.UUID], reason: str) -> dict[str, Any]:
    change = deliveries_redeliver if action == CommandAction.REDELIVER else deliveries_discard
    return change(actor=actor_of(request), delivery_ids=ids, reason=reason)


def event_page_of(delivery: EventDelivery) -> str:
    return reverse("admin:workflows_event_change", args=[delivery.event_id]) + f"#delivery-{delivery.id}"
