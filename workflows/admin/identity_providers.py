"""Pages of the identity providers of a tenant, for administrators (docs/reference/sign-in.md#openid-connect)."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.admin.administrators import AdministratorsAdmin
from workflows.admin.base import actor_of
from workflows.admin.form_keys import key_of
from workflows.admin.forms import ReasonForm
from workflows.models import IdentityProvider, Secret
from workflows.services.identity_providers import (
    ProviderFields,
    identity_provider_delete,
    identity_provider_save,
    require_provider_role,
)
from workflows.statuses import CommandAction

IN = {"class": "in", "autocomplete": "off"}
LIST = "admin:workflows_identityprovider_changelist"


class ProviderForm(forms.Form):
    issuer = forms.CharField(
        max_length=500,
        widget=forms.TextInput(attrs={**IN, "placeholder": "https://login.example.com"}),
        help_text="The issuer in the provider's configuration. It cannot be changed later.",
    )
    client_id = forms.CharField(max_length=191, label="Client id", widget=forms.TextInput(attrs=IN))
    secret_name = forms.ChoiceField(
        label="Client secret",
        widget=forms.Select(attrs=IN),
        help_text="A secret of this tenant. Save the client secret on the page Secrets first.",
    )
    group_claim = forms.CharField(
        max_length=100,
        initial="groups",
        label="Group claim",
        widget=forms.TextInput(attrs=IN),
        help_text="The claim that has the groups of a person.",
    )
    roles = forms.CharField(
        max_length=20_000,
        label="Roles of groups",
        widget=forms.Textarea(attrs={**IN, "rows": 5, "placeholder": "desk = operator"}),
        help_text="One group per line, with its role: viewer, operator, author or admin. The highest role applies.",
    )
    extra_scopes = forms.CharField(
        required=False,
        max_length=2500,
        label="Extra scopes",
        widget=forms.TextInput(attrs={**IN, "placeholder": "groups"}),
        help_text="Scopes besides openid, profile and email, with spaces between them. Some providers send groups only"
        " with the scope groups.",
    )
    is_active = forms.BooleanField(required=False, initial=True, label="People can sign in through this provider")

    def __init__(self, *args: Any, secrets: list[str], **options: Any) -> None:
        super().__init__(*args, **options)
        field = self.fields["secret_name"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "Choose a secret"), *((name, name) for name in secrets)]

    def clean_roles(self) -> dict[str, str]:
        roles = {}
        for number, line in enumerate(self.cleaned_data["roles"].splitlines(), 1):
            group, sign, role = (part.strip() for part in line.rpartition("="))
            if line.strip() and not (sign and group and role):
                raise ValidationError(f"Line {number}: write the group, = and its role, for example desk = operator.")
            if line.strip():
                roles[group] = role
        return roles

    def clean_extra_scopes(self) -> list[str]:
        return str(self.cleaned_data["extra_scopes"]).split()

    def provider_fields(self) -> ProviderFields:
        return ProviderFields(**{name: self.cleaned_data[name] for name in ProviderFields.__dataclass_fields__})


class NewProviderForm(ProviderForm):
    name = forms.CharField(
        max_length=63,
        widget=forms.TextInput(attrs={**IN, "placeholder": "company-login"}),
        help_text="Small letters, digits and hyphens. People see it if the tenant has several providers.",
    )
    field_order = ("name",)


@admin.register(IdentityProvider)
class IdentityProviderAdmin(AdministratorsAdmin):
    purpose = "manage identity providers"
    require_role = staticmethod(require_provider_role)

    @method_decorator(require_safe)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.require_admin(request, CommandAction.SAVE_IDENTITY_PROVIDER)
        providers = list(self.get_queryset(request).order_by("name")[:200])
        context = self.page_context(request, "Identity providers", providers=providers)
        return TemplateResponse(request, "portal/identity_provider_list.html", context)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_admin(request, CommandAction.SAVE_IDENTITY_PROVIDER)
        form = NewProviderForm(request.POST or None, secrets=_secrets(request))
        if request.method == "POST" and form.is_valid() and self._save(request, form, form.cleaned_data["name"]):
            return HttpResponseRedirect(reverse(LIST))
        context = self._context(request, "Add a provider", form=form, button="Add the provider", back=reverse(LIST))
        return TemplateResponse(request, "portal/one_form.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        what = request.POST.get("what", "")
        delete_or_save = (CommandAction.DELETE_IDENTITY_PROVIDER, CommandAction.SAVE_IDENTITY_PROVIDER)
        self.require_admin(request, delete_or_save[what != "delete"])
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404(f"There is no identity provider {object_id}.")
        roles = "\n".join(f"{group} = {role}" for group, role in row.roles.items())
        stored = {name: getattr(row, name) for name in ProviderFields.__dataclass_fields__}
        initial = {**stored, "roles": roles, "extra_scopes": " ".join(row.extra_scopes)}
        posted = request.POST if what == "save" else None
        form = ProviderForm(posted, initial=initial, secrets=_secrets(request))
        delete = ReasonForm(request.POST if what == "delete" else None)
        is_done = (what == "save" and form.is_valid() and self._save(request, form, row.name)) or (
            what == "delete" and delete.is_valid() and self._delete(request, delete, row.name)
        )
        if is_done:
            return HttpResponseRedirect(reverse(LIST))
        start = f"{settings.PUBLIC_URL}{reverse('openid_connect_login', args=[row.id])}"
        callback = f"{settings.PUBLIC_URL}{reverse('openid_connect_callback', args=[row.id])}"
        context = self._context(
            request, row.name, provider=row, form=form, delete=delete, start=start, callback=callback
        )
        return TemplateResponse(request, "portal/identity_provider_page.html", context)

    def _save(self, request: HttpRequest, form: ProviderForm, name: str) -> bool:
        fields, actor, key = form.provider_fields(), actor_of(request), key_of(request)
        return self.was_done(
            request,
            form,
            lambda: identity_provider_save(actor=actor, name=name, fields=fields, idempotency_key=key),
            f"The provider {name} is saved.",
        )

    def _delete(self, request: HttpRequest, form: forms.Form, name: str) -> bool:
        reason, actor, key = form.cleaned_data["reason"], actor_of(request), key_of(request)
        return self.was_done(
            request,
            form,
            lambda: identity_provider_delete(actor=actor, name=name, reason=reason, idempotency_key=key),
            f"The provider {name} is deleted. Nobody can sign in through it.",
        )

    def _context(self, request: HttpRequest, title: str, **more: Any) -> dict[str, Any]:
        crumbs = [("Identity providers", reverse(LIST)), (title, "")]
        return self.page_context(request, title, crumbs=crumbs, **more)


def _secrets(request: HttpRequest) -> list[str]:
    rows = Secret.objects.filter(tenant_id=actor_of(request).tenant_id).order_by("name")
    return list(rows.values_list("name", flat=True)[:500])
