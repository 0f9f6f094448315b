"""Pages of API tokens, for administrators. A token is shown once, on the page after its creation.

Source: docs/reference/api.md#authentication
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from workflows.admin.administrators import AdministratorsAdmin
from workflows.admin.base import actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import ReasonForm, end_of_day
from workflows.errors import PortalError
from workflows.models import ApiToken
from workflows.selectors.people import tokens_page, with_roles_now
from workflows.services.tokens import (
    MAX_NAME_LENGTH,
    MAX_OVERLAP,
    MAX_RATE_PER_MINUTE,
    TokenFields,
    require_token_role,
    token_create,
    token_revoke,
    token_rotate,
)
from workflows.statuses import CommandAction, Role
from workflows.token_scopes import SCOPES

IN = {"class": "in"}
LIST = "admin:workflows_apitoken_changelist"


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=MAX_NAME_LENGTH,
        widget=forms.TextInput(attrs={**IN, "autocomplete": "off"}),
        help_text="The program that uses the token, for example Mail gateway.",
    )
    role = forms.ChoiceField(choices=[("", "Choose a role"), *Role.choices], widget=forms.Select(attrs=IN))
    access = forms.ChoiceField(
        label="What the token may do",
        choices=[("scopes", "Only what the scopes below allow"), ("role", "Everything that its role may do")],
        widget=forms.RadioSelect,
        help_text="A scope is an area of the API, with read or write. A program for one purpose needs one or two.",
    )
    scopes = forms.MultipleChoiceField(
        required=False,
        choices=[(scope, scope) for scope in SCOPES],
        widget=forms.CheckboxSelectMultiple,
        help_text="The role of the token must allow a request too.",
    )
    last_day = forms.DateField(
        required=False,
        widget=forms.DateInput(attrs={**IN, "type": "date"}),
        help_text="The token expires at the end of this day in UTC. Empty: it does not expire.",
    )
    rate = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_RATE_PER_MINUTE,
        label="Requests per minute",
        widget=forms.NumberInput(attrs=IN),
        help_text="Empty: the limit of the installation applies.",
    )

    def clean(self) -> None:
        access, scopes = self.cleaned_data.get("access"), self.cleaned_data.get("scopes")
        if access == "scopes" and scopes == []:
            self.add_error("scopes", "Choose at least one scope, or let the token do everything that its role may do.")
        if access == "role" and scopes:
            self.add_error("access", "You have chosen scopes. Remove them, or choose that only they apply.")

    def token_fields(self) -> TokenFields:
        given = self.cleaned_data
        return TokenFields(
            name=given["name"],
            role=Role(given["role"]),
            scopes=given["scopes"],
            expires_at=end_of_day(given["last_day"]),
            rate_limit_per_minute=given["rate"],
        )


class RotateForm(forms.Form):
    overlap_hours = forms.FloatField(
        initial=1,
        min_value=0,
        max_value=MAX_OVERLAP.total_seconds() / 3600,
        widget=forms.NumberInput(attrs=IN),
        help_text="The old token stays valid for this time, so that you can replace it in the program.",
    )


@admin.register(ApiToken)
class TokenAdmin(AdministratorsAdmin):
    purpose = "manage tokens"
    require_role = staticmethod(require_token_role)

    @method_decorator(require_safe)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.require_admin(request, CommandAction.CREATE_TOKEN)
        context, status = self.searched(request, "Tokens", tokens_page, now=timezone.now())
        return TemplateResponse(request, "portal/token_list.html", context, status=status)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_admin(request, CommandAction.CREATE_TOKEN)
        form = TokenForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            made = self._made(
                request,
                form,
                lambda: token_create(
                    actor=actor_of(request),
                    fields=form.token_fields(),
                    created_by_id=request.user.pk,
                    idempotency_key=key_of(request),
                ),
            )
            if made is not None:
                return made
        context = self._context(request, "Create a token", form=form, button="Create the token", back=reverse(LIST))
        return TemplateResponse(request, "portal/one_form.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        what = request.POST.get("what", "")
        self.require_admin(request, CommandAction.REVOKE_TOKEN if what == "revoke" else CommandAction.ROTATE_TOKEN)
        token = self.get_object(request, object_id)
        if token is None:
            raise Http404(f"There is no token {object_id}.")
        rotate = RotateForm(request.POST if what == "rotate" else None)
        revoke = ReasonForm(request.POST if what == "revoke" else None)
        if what == "rotate" and rotate.is_valid():
            made = self._made(
                request,
                rotate,
                lambda: token_rotate(
                    actor=actor_of(request),
                    token_id=token.id,
                    overlap=timedelta(hours=rotate.cleaned_data["overlap_hours"]),
                    created_by_id=request.user.pk,
                    idempotency_key=key_of(request),
                ),
            )
            if made is not None:
                return made
        if what == "revoke" and revoke.is_valid() and self._revoke(request, token, revoke):
            return HttpResponseRedirect(reverse(LIST))
        with_roles_now([token])
        context = self._context(request, token.name, token=token, rotate=rotate, revoke=revoke, now=timezone.now())
        return TemplateResponse(request, "portal/token_page.html", context)

    def _made(
        self, request: HttpRequest, form: forms.Form, make: Callable[[], tuple[ApiToken, str]]
    ) -> HttpResponse | None:
        """Return the page that shows the new token once, or None after an error, which is then in the form."""
        try:
            made = once(make)
        except PortalError as error:
            form.add_error(None, error_text(error))
            return None
        if made is None:
            messages.warning(
                request,
                "Your first click created the token, and its page showed it. If you did not copy it, revoke it and"
                " create another one.",
            )
            return HttpResponseRedirect(reverse(LIST))
        row, token = made
        return self._shown_once(request, row, token)

    def _shown_once(self, request: HttpRequest, row: ApiToken, token: str) -> HttpResponse:
        context = self._context(request, "Copy the token now", token=row, value=token)
        page: Callable[[HttpRequest], HttpResponse] = never_cache(
            lambda _: TemplateResponse(request, "portal/token_created.html", context)
        )
        return page(request)

    def _revoke(self, request: HttpRequest, token: ApiToken, form: ReasonForm) -> bool:
        return self.was_done(
            request,
            form,
            lambda: token_revoke(
                actor=actor_of(request),
                token_id=token.id,
                reason=form.cleaned_data["reason"],
                idempotency_key=key_of(request),
            ),
            f"The token {token.name} ({token.prefix}…) is revoked.",
        )

    def _context(self, request: HttpRequest, title: str, **more: Any) -> dict[str, Any]:
        crumbs = [("Tokens", reverse(LIST)), (title, "")]
        return self.page_context(request, title, crumbs=crumbs, **more)
