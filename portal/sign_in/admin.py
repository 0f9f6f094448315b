"""Pages of accounts, for superusers only."""

from typing import Any, cast

from allauth.mfa.models import Authenticator
from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from portal.sign_in.signals import by_person
from workflows.admin.base import actor_of, error_text
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

# The rows of the library hold credentials, or copies of columns of the account. No page edits them.
for library_model in list(admin.site._registry):
    if library_model._meta.app_config.name.startswith("allauth."):
        admin.site.unregister(library_model)


class RecordedPasswordForm(AdminPasswordChangeForm):
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


class NewAccountForm(OneNameMixin, UserCreationForm):
    pass


class AccountForm(OneNameMixin, UserChangeForm):
    pass


class ResetForm(forms.Form):
    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        widget=forms.TextInput(attrs={"class": "in"}),
        help_text="Stored in the log of sign-ins, and sent to the person. Check first that the request is really from"
        " the person: afterwards, the password alone opens the account. All sessions of the person end.",
    )


admin.site.unregister([get_user_model(), Group])  # groups give nothing: only the role in a tenant authorises a person


@admin.register(get_user_model())
class AccountAdmin(UserAdmin, ModelAdmin):
    """Pages of accounts. Django's own permission to change accounts would let a member become a superuser.

    The pages have no groups and permissions of Django, because only the role in a tenant authorises a person.
    """

    form, add_form, change_password_form = AccountForm, NewAccountForm, RecordedPasswordForm
    readonly_fields = ("second_factors",)
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_superuser", "second_factors")}),
    )
    list_display = ("username", "email", "first_name", "last_name", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    has_add_permission = has_change_permission = has_module_permission = has_view_permission

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse. Audit logs and tokens refer to accounts, so a superuser deactivates an account instead."""
        return False

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

    @admin.display(description="Second factors")
    def second_factors(self, account: Any) -> str:
        """Return the factors of the account, with the link to their reset."""
        rows = Authenticator.objects.filter(user_id=account.pk).order_by("pk")
        if not rows:
            return "No second factor"
        names = ", ".join(SignInMethod(row.type).label for row in rows)
        link = '{}. <a class="text-primary-600 dark:text-primary-500" href="{}">Reset the second factors</a>'
        return format_html(link, names, reverse("admin:auth_user_reset_factors", args=[account.pk]))

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
