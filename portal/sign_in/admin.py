"""Pages of accounts, for superusers only."""

from copy import copy
from typing import Any, ClassVar, cast

from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from portal.sign_in.form_once import once_per_form
from portal.sign_in.signals import by_person
from workflows.admin.base import ROW_LIST, ListAdmin, actor_of, error_text
from workflows.admin.list_filters import query_with
from workflows.database_errors import is_unique_violation
from workflows.errors import PortalError
from workflows.services.accounts import NAME_TAKEN
from workflows.services.second_factors import (
    MAX_REASON_LENGTH,
    second_factors_reset,
    second_factors_reset_refused,
)
from workflows.services.sign_in_records import sign_in_record
from workflows.sign_in_kinds import SignInKind, SignInMethod
from workflows.templatetags.pointsman import moment

# The rows of the library hold credentials, or copies of columns of the account. No page edits them.
for library_model in list(admin.site._registry):
    if library_model._meta.app_config.name.startswith("allauth."):
        admin.site.unregister(library_model)


class PasswordWords:
    """Words and order of the fields with a new password. It is needed unless sign-in with a password is not allowed."""

    def __init__(self, *positional: Any, **options: Any) -> None:
        super().__init__(*positional, **options)
        form = cast("forms.Form", self)
        form.use_required_attribute = False
        if "usable_password" in form.fields:
            usable: Any = form.fields["usable_password"]
            usable.label, usable.choices = "Sign-in with a password", [("true", "Allowed"), ("false", "Not allowed")]
            usable.help_text = "Without a password, the person can sign in only through an identity provider."
        for name, label in (("password1", "New password"), ("password2", "The same password again")):
            form.fields[name].label = label
            form.fields[name].required = form.data.get("usable_password") != "false"
        form.fields["password2"].help_text = ""
        form.order_fields(["username", "usable_password"])


class RecordedPasswordForm(PasswordWords, AdminPasswordChangeForm):
    def set_password_and_save(self, user: Any, commit: bool = True, **options: Any) -> Any:
        super().set_password_and_save(user, commit, **options)
        sign_in_record(kind=SignInKind.PASSWORD_CHANGED, account=user, origin=by_person())
        return user


class OneNameMixin:
    """Check that no other account has the name. Sign-in compares names without case."""

    def clean_username(self) -> str:
        form = cast("forms.ModelForm[Any]", self)
        name = str(form.cleaned_data["username"])
        if get_user_model().objects.filter(username__iexact=name).exclude(pk=form.instance.pk).exists():
            raise forms.ValidationError(NAME_TAKEN)
        return name


class NewAccountForm(OneNameMixin, PasswordWords, UserCreationForm):
    pass


class AccountForm(OneNameMixin, UserChangeForm):
    def __init__(self, *positional: Any, **options: Any) -> None:
        super().__init__(*positional, **options)
        del self.fields["password"]  # the page has a link to the form that sets a password
        self.fields[
            "is_active"
        ].help_text = (
            "A deactivated account cannot sign in, and its API tokens are refused. Accounts are never deleted."
        )
        self.fields["is_superuser"].label = "Superuser"
        self.fields[
            "is_superuser"
        ].help_text = "A superuser can act in every tenant with the role admin, and manages tenants and accounts."


class ResetForm(forms.Form):
    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        widget=forms.TextInput(attrs={"class": "in"}),
        help_text="Stored in the log of sign-ins, and sent to the person. Check first that the request is really from"
        " the person: afterwards, the password alone opens the account. All sessions of the person end.",
    )


admin.site.unregister([get_user_model(), Group])  # groups give nothing: only the role in a tenant authorises a person


class AccountFilter(DropdownFilter):
    title = "account"
    parameter_name = "show"
    conditions: ClassVar = {
        "active": Q(is_active=True), "deactivated": Q(is_active=False), "superusers": Q(is_superuser=True),
    }  # fmt: skip

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name.capitalize()) for name in self.conditions]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(self.conditions[self.value()]) if self.value() in self.conditions else queryset


@admin.register(get_user_model())
class AccountAdmin(UserAdmin, ListAdmin):  # type: ignore[misc]  # the stubs give both bases other types
    """Pages of accounts. Django's own permission to change accounts would let a member become a superuser.

    The pages have no groups and permissions of Django, because only the role in a tenant authorises a person.
    """

    form, add_form, change_password_form = AccountForm, NewAccountForm, RecordedPasswordForm
    change_list_template = ROW_LIST
    change_form_template = add_form_template = "portal/account_page.html"
    change_user_password_template = "portal/account_password.html"  # noqa: S105
    filter_horizontal = ()
    fieldsets = ((None, {"fields": ("username", "first_name", "last_name", "email", "is_active", "is_superuser")}),)
    list_about = "People who can sign in to the portal. The role of a person in a tenant is set under Members."
    list_display = ("username", "person_label", "email", "state_label", "superuser_label", "sign_in_label")
    list_filter = (AccountFilter,)

    def __init__(self, model: Any, admin_site: Any) -> None:
        super().__init__(model, admin_site)
        self.opts: Any = copy(model._meta)
        self.opts.verbose_name, self.opts.verbose_name_plural = "account", "accounts"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    has_add_permission = has_change_permission = has_module_permission = has_view_permission

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse. Audit logs and tokens refer to accounts, so a superuser deactivates an account instead."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        chosen = request.GET.get("show", "")
        chips = [
            {"word": word, "query": query_with(request.GET, "show", name), "is_chosen": chosen == name}
            for name, word in (("", "All"), *((name, name.capitalize()) for name in AccountFilter.conditions))
        ]
        context = {
            "title": "Accounts", "filter_chips": "portal/_account_chips.html", "chips": chips,
            "chosen": {"show": chosen} if chosen else {},
        }  # fmt: skip
        return super().changelist_view(request, {**context, **(extra_context or {})})

    @display(description="Person")
    def person_label(self, account: Any) -> str:
        return str(account.get_full_name())

    @display(description="Account", label={"active": "success", "deactivated": "default"}, ordering="is_active")
    def state_label(self, account: Any) -> str:
        return "active" if account.is_active else "deactivated"

    @display(description="Superuser", ordering="is_superuser")
    def superuser_label(self, account: Any) -> str:
        return "Yes" if account.is_superuser else "No"

    @display(description="Last sign-in", ordering="last_login")
    def sign_in_label(self, account: Any) -> str:
        return moment(account.last_login)

    @method_decorator(once_per_form)
    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        """Check the form again if another request has taken the name meanwhile. The form then says so."""
        try:
            return super().changeform_view(request, *args, **options)
        except IntegrityError as error:
            if not is_unique_violation(error):
                raise
            return super().changeform_view(request, *args, **options)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            detail = "superuser" if obj.is_superuser else ""
            sign_in_record(kind=SignInKind.ACCOUNT_CREATED, account=obj, detail=detail, origin=by_person())

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.reset_factors)
        return [path("<int:pk>/reset-second-factors/", view, name="auth_user_reset_factors"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        rows = Authenticator.objects.filter(user_id=object_id).order_by("pk") if object_id.isdecimal() else ()
        factors = ", ".join(SignInMethod(row.type).label for row in rows)
        return super().change_view(request, object_id, form_url, {"factors": factors, **(extra_context or {})})

    @method_decorator(once_per_form)
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        return super().user_change_password(request, id, form_url)

    @method_decorator(once_per_form)
    def reset_factors(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the form. A POST deletes the factors of the account."""
        if not self.has_change_permission(request):
            if request.method == "POST":
                second_factors_reset_refused(actor=actor_of(request), target=f"account {pk}", origin=by_person())
            raise PermissionDenied("Only superusers reset second factors. The account can belong to other tenants")
        account = get_object_or_404(get_user_model(), pk=pk)
        name, back = account.get_username(), reverse("admin:auth_user_change", args=[pk])
        form = ResetForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                done = second_factors_reset(
                    actor=actor_of(request), username=name, reason=form.cleaned_data["reason"], origin=by_person()
                )
            except PortalError as error:
                form.add_error(None, error_text(error))
            else:
                messages.success(request, f"The second factors of {name} are deleted. Ended sessions: {done.sessions}.")
                if done.mail_problem:
                    messages.warning(request, done.mail_problem)
                return HttpResponseRedirect(back)
        context = {
            **admin.site.each_context(request),
            "title": f"Reset the second factors of {name}",
            "form": form,
            "button": "Delete the factors and end the sessions",
            "back": back,
        }
        return TemplateResponse(request, "portal/one_form.html", context)
