"""Pages to redeliver or discard one or many deliveries: the confirmation page and the page of results."""

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
from workflows.admin.base import TenantAdmin, actor_of, error_text, role_problem
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import ReasonForm
from workflows.errors import PortalError
from workflows.models import EventDelivery
from workflows.selectors.delivery_targets import definition_name, step_name
from workflows.statuses import CommandAction, Role

_PAGES = {
    CommandAction.REDELIVER: {
        "verb": "Redeliver",
        "action": "redeliver_many",
        "note": "Each delivery starts again with its first attempt. No effect happens twice: a run takes an event "
        "once, and an event starts a definition once.",
    },
    CommandAction.DISCARD: {
        "verb": "Discard",
        "action": "discard_many",
        "note": "The deliveries are not attempted again, so their targets do not receive the event. This cannot be "
        "undone.",
    },
}


class DiscardForm(forms.Form):
    reason = forms.CharField(
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Stored on the delivery and in the command ledger.",
    )


class DeadLetterViews(TenantAdmin):
    """Views and actions of `DeliveryAdmin` that change deliveries. They call the services of the dead-letter inbox."""

    def __init__(self, model: Any, admin_site: Any) -> None:
        super().__init__(model, admin_site)
        self.opts: Any = copy(model._meta)  # Django's default heading is "event deliverys"
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
        """Show the confirmation page on GET. Carry out the command on POST. Show a refusal with its code."""
        delivery = self.get_object(request, str(pk))
        if delivery is None:
            raise Http404(f"There is no delivery {pk}.")
        form = _form(action, request.POST or None)
        if request.method != "POST" or not form.is_valid():
            return self._confirm(request, [pk], action, form, back=event_page_of(delivery))
        try:
            response = _carry_out(request, action, [pk], form.cleaned_data["reason"])
        except PortalError as error:
            messages.error(request, error_text(error))
            return HttpResponseRedirect(event_page_of(delivery))
        (result,) = response["results"]
        if result["code"]:
            messages.error(request, f"{result['code']}: {result['message']}")
        else:
            # A redelivery has no outcome yet.
            show = messages.info if action == CommandAction.REDELIVER else messages.success
            show(request, f"The delivery is {result['result']}.")
        return HttpResponseRedirect(event_page_of(delivery))

    def _many(
        self, request: HttpRequest, queryset: QuerySet[EventDelivery], action: CommandAction
    ) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            ids = list(queryset.order_by("created_at").values_list("id", flat=True)[: MAX_DELIVERIES + 1])
            if len(ids) > MAX_DELIVERIES:
                self.message_user(
                    request,
                    f"More than {MAX_DELIVERIES} deliveries are selected. Select at most {MAX_DELIVERIES} deliveries.",
                    messages.ERROR,
                )
                return None
            return self._confirm(request, ids, action, _form(action, None))
        # Use the deliveries of the confirmation page. By now the filter of the list could match other deliveries.
        try:
            ids = [uuid.UUID(text) for text in request.POST.getlist(ACTION_CHECKBOX_NAME)]
        except ValueError:
            self.message_user(request, "The selection has an id that cannot be read. Select again.", messages.ERROR)
            return None
        form = _form(action, request.POST)
        if not form.is_valid():
            return self._confirm(request, ids, action, form)
        try:
            response = _carry_out(request, action, ids, form.cleaned_data["reason"])
        except PortalError as error:
            self.message_user(request, error_text(error), messages.ERROR)
            return None
        rows = sorted(self._rows(request, response["results"]), key=lambda row: not row["code"])  # refused ones first
        done = sum(1 for row in rows if not row["code"])
        refused, verb = len(rows) - done, _PAGES[action]["verb"]
        context = self.page_context(request, "Dead letters", rows=rows, done=done, refused=refused, verb=verb)
        return TemplateResponse(request, "portal/dead_letters_results.html", context)

    def _confirm(
        self, request: HttpRequest, ids: list[uuid.UUID], action: CommandAction, form: forms.Form, back: str = ""
    ) -> TemplateResponse:
        """Show the confirmation page. The page has a forecast for each redelivery."""
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
            why_not=role_problem(actor_of(request), Role.OPERATOR, to=f"{action} deliveries"),
        )
        return TemplateResponse(request, "portal/dead_letters_confirm.html", context)

    def _rows(self, request: HttpRequest, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = self.get_queryset(request).in_bulk([result["id"] for result in results])
        return [self._row(result, found.get(uuid.UUID(result["id"]))) for result in results]

    def _row(self, result: dict[str, Any], delivery: EventDelivery | None) -> dict[str, Any]:
        if delivery is None:
            return {**result, "delivery": None}
        return {
            **result, "delivery": delivery, "definition": definition_name(delivery), "step": step_name(delivery)
        }  # fmt: skip


def _form(action: CommandAction, data: Any) -> forms.Form:
    return ReasonForm(data) if action == CommandAction.REDELIVER else DiscardForm(data)


def _carry_out(request: HttpRequest, action: CommandAction, ids: list[uuid.UUID], reason: str) -> dict[str, Any]:
    change = deliveries_redeliver if action == CommandAction.REDELIVER else deliveries_discard
    key = key_of(request)
    response = once(lambda: change(actor=actor_of(request), delivery_ids=ids, reason=reason, idempotency_key=key))
    assert response is not None, "these services return their results also for a repeat"
    return response


def event_page_of(delivery: EventDelivery) -> str:
    return reverse("admin:workflows_event_change", args=[delivery.event_id]) + f"#delivery-{delivery.id}"
