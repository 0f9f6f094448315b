"""Pages of tenants: for superusers all tenants, for administrators the own tenant.

Source: docs/reference/administration.md#tenants
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.admin.administrators import AdministratorsAdmin
from workflows.admin.base import actor_of
from workflows.admin.form_keys import key_of
from workflows.admin.forms import ReasonForm
from workflows.admin.members import IN
from workflows.errors import PermissionRefused
from workflows.models import PortalMaintenance, Tenant
from workflows.selectors.counts import MOST_STARTS, starts_of_last_hour
from workflows.services.maintenance import (
    MAX_REASON_LENGTH,
    portal_maintenance_end,
    portal_maintenance_start,
    tenant_maintenance_end,
    tenant_maintenance_start,
)
from workflows.services.tenant_usage import uses_of
from workflows.services.tenants import (
    MAX_NAME_LENGTH,
    MAX_SLUG_LENGTH,
    MOST,
    TenantLimits,
    limits_of,
    require_tenant_role,
    tenant_create,
    tenant_edit,
)
from workflows.statuses import CommandAction
from workflows.tenancy import tenant_scope

SHOWN_TENANTS = 1000
LIST, PAGE = "admin:workflows_tenant_changelist", "admin:workflows_tenant_change"
LABELS = {
    "events_per_second": "Events per second",
    "open_runs": "Open runs",
    "stored_bytes": "Stored bytes",
}
# Cards with a form.
# A page has one primary action. The others, and a danger, have a plain button.
LOOKS = {"rename": "primary", "close": "danger"}
CARDS: dict[str, dict[str, Any]] = {
    "rename": {
        "heading": "Name", "note": "People see the name. The slug never changes.", "button": "Save the name",
    },
    "start": {
        "heading": "Maintenance", "button": "Start maintenance",
        "note": "Every page shows a banner. Starts by events and schedules are held, other starts are refused. Running"
        " work goes on.",
    },
    "end": {
        "heading": "End the maintenance", "button": "End the maintenance",
        "note": "Held starts begin in the order in which their events were received.",
    },
    "limits": {
        "heading": "Change the limits", "button": "Save the limits",
        "note": "At 80 % administrators get a warning. At 100 % events are refused or wait, and new starts are held or"
        " refused.",
    },
    "close": {
        "heading": "Close the tenant", "button": "Close the tenant",
        "note": "Members cannot choose it, and its tokens, events and new starts are refused. Open runs go on.",
    },
    "open": {
        "heading": "Open the tenant", "button": "Open the tenant",
        "note": "Members and tokens have access again. Held starts begin.",
    },
}  # fmt: skip
ACTIONS = {"start": CommandAction.START_MAINTENANCE, "end": CommandAction.END_MAINTENANCE}


class NameForm(forms.Form):
    name = forms.CharField(max_length=MAX_NAME_LENGTH, widget=forms.TextInput(attrs={**IN, "autocomplete": "off"}))


class TenantForm(NameForm):
    slug = forms.CharField(
        max_length=MAX_SLUG_LENGTH,
        widget=forms.TextInput(attrs={**IN, "autocomplete": "off"}),
        help_text="Short name in small letters, for example north-desk. Senders of events use it. It never changes.",
    )


class LimitsForm(forms.Form):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, most in MOST.items():
            self.fields[name] = forms.IntegerField(
                required=False, min_value=1, max_value=most, label=LABELS[name], widget=forms.NumberInput(attrs=IN),
                help_text="Empty: no limit.",
            )  # fmt: skip
        self.fields["reason"] = ReasonForm().fields["reason"]

    def limits(self) -> TenantLimits:
        return TenantLimits(**{name: self.cleaned_data[name] for name in MOST})


class MaintenanceForm(forms.Form):
    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        widget=forms.TextInput(attrs=IN),
        help_text="Every page shows it. It is stored in the command ledger.",
    )
    confirm = forms.BooleanField()

    def __init__(self, data: Any, question: str) -> None:
        super().__init__(data)
        self.fields["confirm"].label = question
        self.fields["confirm"].error_messages["required"] = "Tick the box to confirm. Nothing was changed."


@admin.register(Tenant)
class TenantsAdmin(AdministratorsAdmin):
    purpose = "change the tenant"
    require_role = staticmethod(require_tenant_role)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.portal_view)
        return [path("portal/", view, name="workflows_tenant_portal"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        actor = actor_of(request)
        return Tenant.objects.all() if actor.is_superuser else Tenant.objects.filter(id=actor.tenant_id)

    @method_decorator(require_safe)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._require_superuser(request, CommandAction.EDIT_TENANT, to="see all tenants")
        tenants = list(self.get_queryset(request).order_by("name", "id")[: SHOWN_TENANTS + 1])
        context = self.page_context(
            request,
            "All tenants",
            tenants=[(tenant, [use for use in uses_of(tenant) if use.level]) for tenant in tenants[:SHOWN_TENANTS]],
            has_more=len(tenants) > SHOWN_TENANTS,
            portal=PortalMaintenance.objects.first(),
        )
        return TemplateResponse(request, "portal/tenant_list.html", context)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self._require_superuser(request, CommandAction.CREATE_TENANT, to="create tenants")
        form = TenantForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            given = form.cleaned_data
            if self.was_done(
                request,
                form,
                lambda: tenant_create(actor=actor_of(request), slug=given["slug"], name=given["name"]),
                f"The tenant {given['name']} exists. Choose it above, then invite its first administrator.",
            ):
                return HttpResponseRedirect(reverse(LIST))
        context = self._context(request, "Create a tenant", form=form, button="Create the tenant", back=reverse(LIST))
        return TemplateResponse(request, "portal/one_form.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        what = request.POST.get("what", "")
        if not actor_of(request).is_superuser:
            self.require_admin(request, ACTIONS.get(what, CommandAction.EDIT_TENANT))
        tenant = self.get_object(request, object_id)
        if tenant is None:
            raise Http404(f"There is no tenant {object_id}.")
        shown = {
            "rename": NameForm(request.POST if what == "rename" else None, initial={"name": tenant.name}),
            "limits": LimitsForm(request.POST if what == "limits" else None, initial=limits_of(tenant).as_json()),
            "close": ReasonForm(request.POST if what == "close" else None),
            "open": ReasonForm(request.POST if what == "open" else None),
            "start": MaintenanceForm(
                request.POST if what == "start" else None, "" if tenant.maintenance_since else _question(tenant)
            ),
            "end": ReasonForm(request.POST if what == "end" else None),
        }
        form = shown.get(what)
        if form is not None and form.is_valid() and self._carry_out(request, tenant, what, form):
            return HttpResponseRedirect(reverse(PAGE, args=[tenant.id]))
        context = self._context(
            request,
            tenant.name,
            tenant=tenant,
            uses=[(LABELS[use.name], use) for use in uses_of(tenant)],
            cards=[
                {"what": name, "form": shown[name], "look": LOOKS.get(name, ""), **CARDS[name]}
                for name in _offered(tenant, is_superuser=actor_of(request).is_superuser)
            ],
        )
        return TemplateResponse(request, "portal/tenant_page.html", context)

    def portal_view(self, request: HttpRequest) -> HttpResponse:
        """Start or end the maintenance of the whole portal."""
        row = PortalMaintenance.objects.first()
        action = CommandAction.START_MAINTENANCE if row is None else CommandAction.END_MAINTENANCE
        self._require_superuser(request, action, to="start and end maintenance of the portal")
        form: forms.Form = ReasonForm(request.POST or None)
        if row is None:
            number = self.get_queryset(request).filter(is_active=True).count()
            question = f"Hold the new starts of {number:,} tenant{pluralize(number)} until the end of the maintenance"
            form = MaintenanceForm(request.POST or None, question)
        title = "Start maintenance of the portal" if row is None else "End the maintenance of the portal"
        if request.method == "POST" and form.is_valid():
            actor, key, reason = actor_of(request), key_of(request), form.cleaned_data["reason"]
            if row is None:
                done = self.was_done(
                    request,
                    form,
                    lambda: portal_maintenance_start(actor=actor, reason=reason, idempotency_key=key),
                    "The portal is in maintenance. New starts of all tenants are held.",
                )
            else:
                tenants = list(self.get_queryset(request).order_by("id"))
                done = self.was_done(
                    request,
                    form,
                    lambda: portal_maintenance_end(actor=actor, tenants=tenants, reason=reason, idempotency_key=key),
                    "The maintenance of the portal has ended. Held starts begin.",
                )
            if done:
                return HttpResponseRedirect(reverse(LIST))
        note = CARDS["start" if row is None else "end"]["note"]
        context = self._context(request, title, form=form, note=note, button=title, back=reverse(LIST))
        return TemplateResponse(request, "portal/one_form.html", context)

    def _carry_out(self, request: HttpRequest, tenant: Tenant, what: str, form: forms.Form) -> bool:
        given: dict[str, Any] = {"actor": actor_of(request), "slug": tenant.slug, "idempotency_key": key_of(request)}
        fields = form.cleaned_data
        if what != "rename":
            given["reason"] = fields["reason"]
        if what == "rename":
            return self.was_done(
                request, form, lambda: tenant_edit(name=fields["name"], **given), "The tenant has a new name."
            )
        if what == "limits":
            assert isinstance(form, LimitsForm)
            limits = form.limits()
            return self.was_done(request, form, lambda: tenant_edit(limits=limits, **given), "The limits are saved.")
        if what in ("close", "open"):
            is_active = what == "open"
            text = "The tenant is open." if is_active else "The tenant is closed. Its open runs go on."
            return self.was_done(request, form, lambda: tenant_edit(is_active=is_active, **given), text)
        if what == "start":
            text = "The tenant is in maintenance. New starts are held."
            return self.was_done(request, form, lambda: tenant_maintenance_start(**given), text)
        text = "The maintenance has ended. Held starts begin."
        return self.was_done(request, form, lambda: tenant_maintenance_end(**given), text)

    def _require_superuser(self, request: HttpRequest, action: CommandAction, *, to: str) -> None:
        """Errors: PermissionDenied. A refused POST is recorded in the ledger."""
        actor = actor_of(request)
        try:
            if request.method == "POST":
                require_tenant_role(actor=actor, action=action)
            actor.require_superuser(to=to)
        except PermissionRefused as error:
            raise PermissionDenied(error.message) from error

    def _context(self, request: HttpRequest, title: str, **more: Any) -> dict[str, Any]:
        first = ("All tenants", reverse(LIST)) if actor_of(request).is_superuser else ("Administer", "")
        return self.page_context(request, title, crumbs=[first, (title, "")], **more)


def _question(tenant: Tenant) -> str:
    """Return what a person confirms before the maintenance of a tenant, with the number of starts to expect."""
    with tenant_scope(tenant.id):
        number = starts_of_last_hour(tenant_id=tenant.id)
    shown = f"{number:,}" if number <= MOST_STARTS else f"more than {MOST_STARTS:,}"
    return f"Hold the new starts of this tenant. In the last hour, {shown} run{pluralize(number)} started."


def _offered(tenant: Tenant, *, is_superuser: bool) -> list[str]:
    """Return the names of the cards that the page offers now."""
    names = ["rename", "start" if tenant.maintenance_since is None else "end"]
    return [*names, "limits", "close" if tenant.is_active else "open"] if is_superuser else names
