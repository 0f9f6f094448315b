"""Records of the audit log of sign-ins (docs/reference/sign-in.md#audit-log)."""

import uuid
from dataclasses import dataclass
from typing import Any

from django.utils.crypto import salted_hmac
from django.utils.timezone import now

from workflows.models import SignInRecord, TenantMembership
from workflows.sign_in_kinds import SignInKind, SignInMethod
from workflows.tenancy import Scope, scope_of

MARK_LENGTH = 8


@dataclass(frozen=True)
class Origin:
    """IP address and browser of a request. `by_name` is the person who changes the account of another one."""

    address: str = ""
    user_agent: str = ""
    by_name: str = ""


NO_ORIGIN = Origin()


def sign_in_record(
    *,
    kind: SignInKind,
    account: Any = None,
    unknown_name: str = "",
    method: SignInMethod = SignInMethod.NONE,
    detail: str = "",
    origin: Origin = NO_ORIGIN,
    of_tenant: uuid.UUID | None = None,
) -> None:
    """Add one row to the audit log for each tenant of the account, or one row without a tenant.

    The rows are written on the connection of sign-in. So they stay if a transaction of `default` is rolled back.

    `of_tenant` is a tenant that gets a row although the account is not its member.
    `unknown_name` is a name that no account has. Only a keyed hash of it is stored, because it can be a password.
    """
    tenants: set[uuid.UUID | None] = {*_tenants_of(account)} if account is not None else set()
    if of_tenant is not None:
        tenants.add(of_tenant)
    at = now()
    for tenant_id in tenants or [None]:
        SignInRecord.objects.create(
            tenant_id=tenant_id,
            at=at,
            kind=kind,
            method=method,
            account_id=account.pk if account is not None else None,
            account_name=account.get_username()[:150] if account is not None else "",
            unknown_mark=_mark(unknown_name) if unknown_name else "",
            by_name=origin.by_name[:150],
            detail=detail[:300],
            address=origin.address or None,
            user_agent=origin.user_agent.replace("\x00", "")[:200],
        )


def _tenants_of(account: Any) -> list[uuid.UUID]:
    with scope_of(Scope(user=str(account.pk))):
        members = TenantMembership.objects.filter(user_id=account.pk).order_by("tenant_id")
        return list(members.values_list("tenant_id", flat=True))


def _mark(name: str) -> str:
    """Return a short text for a name. Without Django's secret key, the name cannot be guessed from it."""
    return salted_hmac("sign_in_record", name, algorithm="sha256").hexdigest()[:MARK_LENGTH]
