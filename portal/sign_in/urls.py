"""Addresses of sign-in, below /account/. django-allauth uses these names. Visitors cannot open accounts."""

from functools import wraps
from typing import Any, cast

from allauth.account import views
from allauth.mfa.base import views as factors
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as passkeys
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import path, re_path
from django.views.decorators.http import require_POST

from portal.database_router import SIGNIN
from portal.sign_in.form_once import once_per_form
from portal.sign_in.views import (
    PasskeyRemove,
    PasswordChange,
    oidc_callback,
    oidc_login,
    organisation,
    security,
    session_end,
)

# The library locks rows in a transaction of the default connection. Its rows belong to the connection of sign-in.
locked = transaction.atomic(using=SIGNIN)


def one_by_one(view: Any) -> Any:
    """Let the requests that add a factor to one account wait for each other.

    The first request also stores the recovery codes. A second one would break their unique key.
    """

    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponseBase:
        if request.user.is_authenticated and request.method == "POST":
            get_user_model().objects.select_for_update(no_key=True).get(pk=request.user.pk)
        return cast(HttpResponseBase, view(request))

    return locked(wrapped)


urlpatterns = [
    path("login/", views.login, name="account_login"),
    path("logout/", require_POST(views.logout), name="account_logout"),
    path("organisation/", organisation, name="account_organisation"),
    path("oidc/<str:provider_id>/login/", oidc_login, name="openid_connect_login"),
    path("oidc/<str:provider_id>/login/callback/", oidc_callback, name="openid_connect_callback"),
    path("password/change/", once_per_form(PasswordChange.as_view()), name="account_change_password"),
    path("password/reset/", views.password_reset, name="account_reset_password"),
    path("password/reset/done/", views.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/key/done/",
        views.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
    path("security/", security, name="mfa_index"),
    path("security/sessions/<int:pk>/end/", once_per_form(session_end), name="account_session_end"),
    path("security/code/", locked(factors.authenticate), name="mfa_authenticate"),
    path("security/code/again/", locked(factors.reauthenticate), name="mfa_reauthenticate"),
    path("security/app/add/", once_per_form(one_by_one(totp.activate_totp)), name="mfa_activate_totp"),
    path("security/app/remove/", once_per_form(totp.deactivate_totp), name="mfa_deactivate_totp"),
    path("security/recovery-codes/", codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    path(
        "security/recovery-codes/new/",
        once_per_form(locked(codes.generate_recovery_codes)),
        name="mfa_generate_recovery_codes",
    ),
    path("security/passkeys/add/", once_per_form(one_by_one(passkeys.add_webauthn)), name="mfa_add_webauthn"),
    path("security/passkeys/<int:pk>/remove/", once_per_form(PasskeyRemove.as_view()), name="mfa_remove_webauthn"),
    path("security/passkeys/sign-in/", passkeys.login_webauthn, name="mfa_login_webauthn"),
    path("security/passkeys/again/", passkeys.reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"),
]
