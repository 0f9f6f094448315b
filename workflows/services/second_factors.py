"""Second factors of accounts: encryption of their seeds, and their reset (docs/reference/sign-in.md#second-factors)."""

import base64
import smtplib
import uuid
from dataclasses import dataclass, replace

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import EmailMessage
from django.db import router, transaction

from workflows.actors import Actor
from workflows.errors import InputInvalid, PermissionRefused
from workflows.secret_encryption import decrypt, encrypt, first_key_id
from workflows.services.sign_in_records import NO_ORIGIN, Origin, sign_in_record
from workflows.sign_in_kinds import SignInKind

# Seeds belong to accounts, not to a tenant.
NO_TENANT = uuid.UUID(int=0)
NAME = "second-factor"
# Keys of `Authenticator.data` whose values django-allauth encrypts.
SEEDS = ("secret", "seed")
MAX_REASON_LENGTH = 250
TEXT = """{by} has removed all second factors and recovery codes of your account {name} of Pointsman. All your sessions
are ended.

Reason: {reason}

Sign in with your password, and add a new second factor on this page:

{link}

If you did not request this, change your password and tell a superuser of the portal.
"""


def seed_encrypt(text: str) -> str:
    """Return `KEY-ID:BASE64`. Errors: KeyMissing if no key is set."""
    key_id, sealed = encrypt(text, tenant_id=NO_TENANT, name=NAME)
    return f"{key_id}:{base64.b64encode(sealed).decode()}"


def seed_decrypt(text: str) -> str:
    """Errors: KeyMissing, DecryptionFailed. An operator must restore the encryption key."""
    key_id, _, sealed = text.partition(":")
    return decrypt(base64.b64decode(sealed), key_id=key_id, tenant_id=NO_TENANT, name=NAME)


def seeds_rotate(*, dry_run: bool = False) -> int:
    """Encrypt the seeds of all accounts with the first key. Return the number of changed rows.

    Errors: KeyMissing, DecryptionFailed. Rows that were changed before stay changed.
    """
    changed = 0
    first = f"{first_key_id()}:"
    for row in Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN).order_by("pk"):
        old = {key: row.data[key] for key in SEEDS if key in row.data and not row.data[key].startswith(first)}
        if old and not dry_run:
            row.data.update({key: seed_encrypt(seed_decrypt(text)) for key, text in old.items()})
            row.save(update_fields=["data"])
        changed += bool(old)
    return changed


@dataclass(frozen=True)
class FactorReset:
    """Result of a reset. `mail_problem`: why the person got no e-mail; empty if the e-mail was sent."""

    sessions: int
    mail_problem: str


def second_factors_reset(*, actor: Actor, username: str, reason: str, origin: Origin = NO_ORIGIN) -> FactorReset:
    """Delete all second factors and recovery codes of an account, end its sessions, and send an e-mail to the person.

    The log of sign-ins has a row with the reason in each tenant of the account. A failed e-mail does not undo the
    reset.

    Errors: PermissionRefused for an actor who is no superuser; InputInvalid without a reason, for an unknown account,
    for the own account, and for an account without a second factor.
    """
    try:
        actor.require_superuser(to="reset second factors, because the account can belong to other tenants")
    except PermissionRefused:
        second_factors_reset_refused(actor=actor, target=username, origin=origin)
        raise
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= MAX_REASON_LENGTH:
        raise InputInvalid(
            f"the reset needs a reason of at most {MAX_REASON_LENGTH} characters, for the log of sign-ins"
        )
    account = get_user_model().objects.filter(username=username).first()
    if account is None:
        raise InputInvalid(f"there is no account {username[:150]}; correct the name", code="ACCOUNT_UNKNOWN")
    if actor.kind == "user" and actor.id == str(account.pk):
        second_factors_reset_refused(actor=actor, target=username, origin=origin)
        raise InputInvalid(
            "you cannot reset your own second factors, because a reset asks for no factor. Remove them on the page"
            " Security of my account, or let another superuser reset them"
        )
    using = router.db_for_write(Authenticator)
    with transaction.atomic(), transaction.atomic(using=using):
        deleted, _ = Authenticator.objects.filter(user_id=account.pk).delete()
        if not deleted:
            raise InputInvalid(f"the account {username} has no second factor; nothing was changed")
        sessions = list(UserSession.objects.filter(user_id=account.pk))
        for session in sessions:
            session.end()
        detail = f"Ended sessions: {len(sessions)}. Reason: {reason}"
        origin = replace(origin, by_name=actor.name)
        sign_in_record(kind=SignInKind.FACTORS_RESET, account=account, detail=detail, origin=origin)
    return FactorReset(len(sessions), _send_reset(account.email, account.get_username(), by=actor.name, reason=reason))


def second_factors_reset_refused(*, actor: Actor, target: str, origin: Origin = NO_ORIGIN) -> None:
    """Record a refused attempt in the log of sign-ins, for the person who tried it.

    The tenants of the other account get no row. A person could otherwise write into the log of each tenant.
    """
    account = get_user_model().objects.filter(pk=actor.id).first() if actor.kind == "user" else None
    detail = f"{actor.name} may not reset the second factors of {target}"
    sign_in_record(
        kind=SignInKind.RESET_REFUSED, account=account, detail=detail, origin=origin, of_tenant=actor.tenant_id
    )


def _send_reset(email: str, name: str, *, by: str, reason: str) -> str:
    """Send the e-mail about a reset. Return the problem, or an empty text."""
    if not email:
        return f"The account {name} has no e-mail address, so nothing was sent. Tell the person about the reset."
    text = TEXT.format(by=by, name=name, reason=reason, link=f"{settings.PUBLIC_URL}/account/security/")
    try:
        EmailMessage("Your second factors were reset", text, to=[email]).send()
    except (smtplib.SMTPException, OSError) as error:
        return (
            f"The e-mail to {email} could not be sent: {error}. Tell the person about the reset. An operator must check"
            " the mail server and the settings EMAIL_HOST and EMAIL_PORT."
        )
    return ""
