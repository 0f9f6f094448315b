"""Screens of secrets, for administrators. They show names, times and uses. Values can be written but never read.

Source: docs/reference/screens.md#other-screens, docs/reference/administration.md#tenants-and-roles
"""

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from workflows.admin.administrators import AdministratorsAdmin
from workflows.admin.base import ROW_LIST, actor_of, error_text
from workflows.admin.form_keys import key_of, once, was_done
from workflows.admin.forms import ReasonForm
from workflows.admin.redaction import redaction_page
from workflows.errors import PortalError
from workflows.models import Secret
from workflows.secret_encryption import has_key
from workflows.services.references import Referred
from workflows.services.secrets import MAX_DESCRIPTION_LENGTH, require_secret_role, secret_delete, secret_save
from workflows.services.uses import uses_of
from workflows.statuses import CommandAction
from workflows.templatetags.pointsman import ago


class WriteOnlyTextarea(UnfoldAdminTextareaWidget):
    """Text area that never renders its value, not even after an error. Otherwise the page would contain the secret."""

    def format_value(self, value: Any) -> None:
        return None


class ValueForm(forms.Form):
    value = forms.CharField(
        strip=False,
        widget=WriteOnlyTextarea(
            attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off", "class": "pm-code pm-write-only"}
        ),
        help_text="At least 4 characters, never shown again. Enter the complete text that the action needs, such as"
        " `Bearer abc…`.",
    )
    description = forms.CharField(
        required=False,
        max_length=MAX_DESCRIPTION_LENGTH,
        widget=UnfoldAdminTextInputWidget(),
        help_text="The purpose and the source of the secret. Every administrator of this tenant can read it.",
    )

    def clean_value(self) -> str:
        """Replace CR LF by LF, because text areas send CR LF.

        If the value has only one line, remove spaces at its start and end. They are often pasted by accident.
        """
        value = str(self.cleaned_data["value"]).replace("\r\n", "\n")
        return value if "\n" in value.strip() else value.strip()


class NewSecretForm(ValueForm):
    name = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text='Capital letters, digits and _. A definition refers to the secret by {"$secret": "NAME"}.',
    )
    field_order = ("name", "value", "description")


@admin.register(Secret)
class SecretAdmin(AdministratorsAdmin):
    purpose = "manage secrets"
    require_role = staticmethod(require_secret_role)
    change_list_template = ROW_LIST
    list_about = "Encrypted values that actions use. No page shows a value."
    list_empty = "Definitions and connectors refer to a secret by its name. Add the token or password of a system here."
    list_display = ("name", "description", "key_label", "created_label", "replaced_label", "used_label")
    search_fields = ("name", "description")
    ordering = ("name",)

    def get_urls(self) -> list[URLPattern]:
        redaction = self.admin_site.admin_view(partial(redaction_page, self))
        return [path("redaction/", redaction, name="workflows_secret_redaction"), *super().get_urls()]

    has_delete_permission = AdministratorsAdmin.has_view_permission

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Secrets", **(extra_context or {})})

    @display(description="Key", label={"available": "success", "missing": "danger"})
    def key_label(self, secret: Secret) -> tuple[str, str]:
        return ("available", secret.key_id) if has_key(secret.key_id) else ("missing", f"{secret.key_id} is missing")

    @display(description="Created", ordering="created_at")
    def created_label(self, secret: Secret) -> str:
        return ago(secret.created_at)

    @display(description="Value replaced", ordering="rotated_at")
    def replaced_label(self, secret: Secret) -> str:
        return ago(secret.rotated_at)

    @display(description="Last used", ordering="last_used_at")
    def used_label(self, secret: Secret) -> str:
        return ago(secret.last_used_at)

    # -- Pages -------------------------------------------------------------------------------------------------------

    @method_decorator(sensitive_post_parameters("value"))
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_admin(request, CommandAction.SAVE_SECRET, name=request.POST.get("name", ""))
        form = NewSecretForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            name = form.cleaned_data["name"]
            is_taken = Secret.objects.filter(tenant_id=actor_of(request).tenant_id, name=name).exists()
            if is_taken and not was_done(request):
                form.add_error("name", "A secret with this name exists. Open that secret to replace its value.")
            elif self._save(request, form, name):
                return HttpResponseRedirect(reverse("admin:workflows_secret_changelist"))
        context = self.page_context(
            request,
            "Add a secret",
            form=form,
            back=reverse("admin:workflows_secret_changelist"),
            button="Save the secret",
            note="The value is encrypted before it is stored. Actions use it. No screen, log or history shows it.",
        )
        return TemplateResponse(request, "portal/form_page.html", context)

    @method_decorator(sensitive_post_parameters("value"))
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        secret = self._get_or_404(request, object_id, CommandAction.SAVE_SECRET)
        form = ValueForm(request.POST or None, initial={"description": secret.description})
        if request.method == "POST" and form.is_valid() and self._save(request, form, secret.name):
            return HttpResponseRedirect(reverse("admin:workflows_secret_change", args=[secret.id]))
        return self._page(request, secret, form=form)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if was_done(request):  # an earlier click has deleted the secret
            return HttpResponseRedirect(reverse("admin:workflows_secret_changelist"))
        secret = self._get_or_404(request, object_id, CommandAction.DELETE_SECRET)
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                reason, key = form.cleaned_data["reason"], key_of(request)
                once(
                    lambda: secret_delete(actor=actor_of(request), name=secret.name, reason=reason, idempotency_key=key)
                )
            except PortalError as error:
                form.add_error(None, error_text(error))
            else:
                messages.success(request, f"{secret.name} is deleted.")
                return HttpResponseRedirect(reverse("admin:workflows_secret_changelist"))
        return self._page(request, secret, form=form, is_deleting=True)

    def _page(self, request: HttpRequest, secret: Secret, **more: Any) -> HttpResponse:
        uses = uses_of(Referred.SECRET, secret.name, tenant_id=secret.tenant_id)
        is_readable = has_key(secret.key_id)
        context = self.page_context(request, secret.name, secret=secret, uses=uses, is_readable=is_readable, **more)
        return TemplateResponse(request, "portal/secret_page.html", context)

    def _save(self, request: HttpRequest, form: ValueForm, name: str) -> bool:
        fields = form.cleaned_data

        def save() -> object:
            return secret_save(
                actor=actor_of(request),
                name=name,
                value=fields["value"],
                description=fields["description"],
                idempotency_key=key_of(request),
            )

        return self.was_done(request, form, save, f"{name} is saved. Actions use the new value from now on.")

    def _get_or_404(self, request: HttpRequest, pk: str, action: CommandAction) -> Secret:
        secret = self.get_object(request, pk)
        if secret is None:
            raise Http404(f"There is no secret {pk}.")
        self.require_admin(request, action, name=secret.name)
        return secret
