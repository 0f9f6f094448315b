"""Connection of Django's and django-allauth's signals with the audit log (docs/reference/sign-in.md#audit-log)."""

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records, record_authentication
from allauth.account.signals import password_changed, password_reset
from allauth.core import context
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed, authenticator_added, authenticator_removed, authenticator_reset
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.http import HttpRequest

from portal.sign_in.requests import client_of
from portal.sign_in.sessions import start_session
from workflows.services.sign_in_records import Origin, sign_in_record
from workflows.sign_in_kinds import SignInKind, SignInMethod

# Methods of the library, and their names in the log.
METHODS = {"password": SignInMethod.PASSWORD, "socialaccount": SignInMethod.OIDC}
# Columns of an account, and the records when they become False and True.
STATES = {
    "is_active": (SignInKind.ACCOUNT_DEACTIVATED, SignInKind.ACCOUNT_ACTIVATED),
    "is_superuser": (SignInKind.SUPERUSER_REVOKED, SignInKind.SUPERUSER_GRANTED),
}
# Columns of an account with a text, and the records of their changes. A link to a new password goes to the address.
TEXTS = {"username": SignInKind.NAME_CHANGED, "email": SignInKind.ADDRESS_CHANGED}


def _method(records: list[dict[str, Any]]) -> SignInMethod:
    """Return the last method of a sign-in. For a second factor, this is its type."""
    if not records:
        return SignInMethod.NONE
    last = records[-1]
    return SignInMethod(last["type"]) if last["method"] == "mfa" else METHODS[last["method"]]


@receiver(user_logged_in)
def record_sign_in(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    start_session(request)
    method = _method(get_authentication_records(request, user))
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


@receiver(authenticator_added)
def record_new_factor(sender: Any, request: HttpRequest, user: Any, authenticator: Any, **_: Any) -> None:
    """Record a new factor. The session in which it was added counts as signed in with it."""
    if authenticator.type == Authenticator.Type.RECOVERY_CODES:
        record_new_codes(sender, request, user)
        return
    record_authentication(request, user, "mfa", id=authenticator.pk, type=authenticator.type)
    _record_factor(SignInKind.FACTOR_ADDED, request, user, authenticator)


@receiver(authenticator_removed)
def record_removed_factor(sender: Any, request: HttpRequest, user: Any, authenticator: Any, **_: Any) -> None:
    _record_factor(SignInKind.FACTOR_REMOVED, request, user, authenticator)


@receiver(authentication_failed)
def record_failed_factor(sender: Any, request: HttpRequest, user: Any, authenticator: Any, **_: Any) -> None:
    _record_factor(SignInKind.FACTOR_FAILED, request, user, authenticator)


@receiver(authenticator_reset)
def record_new_codes(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    sign_in_record(kind=SignInKind.CODES_CREATED, account=user, origin=client_of(request))


def _record_factor(kind: SignInKind, request: HttpRequest, user: Any, authenticator: Any) -> None:
    method, name = SignInMethod(authenticator.type), ""
    if method == SignInMethod.PASSKEY:
        name = str(authenticator)
    sign_in_record(kind=kind, account=user, method=method, detail=name, origin=client_of(request))


@receiver(pre_save, sender=SocialAccount)
def store_no_claims(sender: Any, instance: Any, **_: Any) -> None:
    """Keep the claims of a person for this request only. The library would store them, with the e-mail address."""
    if instance.extra_data:
        instance.claims, instance.extra_data = instance.extra_data, {}


@receiver(pre_save, sender=get_user_model())
def record_activity(sender: Any, instance: Any, update_fields: Any = None, **_: Any) -> None:
    """Record a change of an account: its name, address, activity, and rights of a superuser.

    A sign-in saves other columns only.
    """
    columns = [*TEXTS, *STATES]
    saved = columns if update_fields is None else [name for name in columns if name in update_fields]
    before = sender.objects.filter(pk=instance.pk).values(*columns).first() if instance.pk and saved else None
    if before is None:
        return
    for column in saved:
        old, new = before[column], getattr(instance, column)
        if old != new:
            kind = TEXTS[column] if column in TEXTS else STATES[column][new]
            detail = f"from {old or 'none'} to {new or 'none'}" if column in TEXTS else ""
            by_command = getattr(instance, "changed_by", "")
            origin = Origin(by_name=by_command) if by_command else by_person()
            sign_in_record(kind=kind, account=instance, detail=detail, origin=origin)


def by_person() -> Origin:
    """Return the origin of a change by the person of this request."""
    request = context.request
    name = request.user.get_username() if request is not None and request.user.is_authenticated else ""
    return client_of(request, by_name=name)
