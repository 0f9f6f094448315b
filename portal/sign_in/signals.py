"""Connection of Django's and django-allauth's signals with the audit log (docs/reference/sign-in.md#audit-log)."""

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.signals import password_changed, password_reset
from allauth.core import context
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.http import HttpRequest

from portal.sign_in.requests import client_of
from workflows.services.sign_in_records import Origin, sign_in_record
from workflows.sign_in_kinds import SignInKind, SignInMethod

# Methods of the library, and their names in the log.
METHODS = {"password": SignInMethod.PASSWORD, "socialaccount": SignInMethod.OIDC}


@receiver(user_logged_in)
def record_sign_in(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    records = get_authentication_records(request, user)
    method = METHODS[records[-1]["method"]] if records else SignInMethod.NONE
    sign_in_record(kind=SignInKind.SIGNED_IN, account=user, method=method, origin=client_of(request))


@receiver(user_logged_out)
def record_sign_out(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        sign_in_record(kind=SignInKind.SIGNED_OUT, account=user, origin=client_of(request))


@receiver(password_changed)
def record_password_change(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    sign_in_record(kind=SignInKind.PASSWORD_CHANGED, account=user, origin=client_of(request))


@receiver(password_reset)
def record_password_reset(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    sign_in_record(kind=SignInKind.PASSWORD_RESET, account=user, origin=client_of(request))


@receiver(pre_save, sender=get_user_model())
def record_activity(sender: Any, instance: Any, update_fields: Any = None, **_: Any) -> None:
    """Record that an account is deactivated or activated. A sign-in saves other columns only."""
    if instance.pk is None or (update_fields is not None and "is_active" not in update_fields):
        return
    was_active = sender.objects.filter(pk=instance.pk).values_list("is_active", flat=True).first()
    if was_active is not None and was_active != instance.is_active:
        kind = SignInKind.ACCOUNT_ACTIVATED if instance.is_active else SignInKind.ACCOUNT_DEACTIVATED
        sign_in_record(kind=kind, account=instance, origin=by_person())


def by_person() -> Origin:
    """Return the origin of a change by the person of this request."""
    request = context.request
    name = request.user.get_username() if request is not None and request.user.is_authenticated else ""
    return client_of(request, by_name=name)
