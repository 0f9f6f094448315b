"""Celery task of this package: the e-mail with a link that resets a password."""

from allauth.account.app_settings import PASSWORD_RESET_TOKEN_GENERATOR
from allauth.account.utils import filter_users_by_email, user_pk_to_url_str
from celery import shared_task
from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from workflows.services.sign_in_records import Origin, sign_in_record
from workflows.sign_in_kinds import SignInKind


@shared_task(name="sign_in.send_reset_link", ignore_result=True)
def send_reset_link(email: str, address: str = "", user_agent: str = "") -> None:
    """Send a link to each active account with this e-mail address and a password. A repeat sends it again.

    An account of an identity provider has no password. With a link, it could sign in without its provider.
    """
    for account in filter_users_by_email(email, is_active=True):
        if not account.has_usable_password():
            continue
        key = PASSWORD_RESET_TOKEN_GENERATOR().make_token(account)
        path = reverse("account_reset_password_from_key", args=[user_pk_to_url_str(account), key])
        text = render_to_string(
            "account/email/reset_link.txt",
            {
                "name": account.get_username(),
                "link": f"{settings.PUBLIC_URL}{path}",
                "minutes": settings.PASSWORD_RESET_TIMEOUT // 60,
            },
        )
        send_mail("Reset your Pointsman password", text, None, [account.email])
        sign_in_record(kind=SignInKind.RESET_REQUESTED, account=account, origin=Origin(address, user_agent))
