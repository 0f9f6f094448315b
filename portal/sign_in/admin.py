"""Pages of accounts, for superusers only."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm
from django.http import HttpRequest

from portal.sign_in.signals import by_person
from workflows.services.sign_in_records import sign_in_record
from workflows.sign_in_kinds import SignInKind

# The rows of the library hold credentials, or copies of columns of the account. No page edits them.
for library_model in list(admin.site._registry):
    if library_model._meta.app_config.name.startswith("allauth."):
        admin.site.unregister(library_model)


class RecordedPasswordForm(AdminPasswordChangeForm):
    def set_password_and_save(self, user: Any, commit: bool = True, **options: Any) -> Any:
        super().set_password_and_save(user, commit, **options)  # type: ignore[misc]  # absent from the stubs
        sign_in_record(kind=SignInKind.PASSWORD_CHANGED, account=user, origin=by_person())
        return user


admin.site.unregister(get_user_model())


@admin.register(get_user_model())
class AccountAdmin(UserAdmin):
    """Pages of accounts. Django's own permission to change accounts would let a member become a superuser."""

    change_password_form = RecordedPasswordForm

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    has_add_permission = has_change_permission = has_module_permission = has_view_permission

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse. Audit logs and tokens refer to accounts, so a superuser deactivates an account instead."""
        return False
