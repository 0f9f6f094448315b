"""Reads of the audit log of sign-ins (docs/reference/sign-in.md#audit-log)."""

import uuid

from django.db.models import QuerySet

from workflows.models import SignInRecord
from workflows.selectors.keyset import KeysetPage, keyset_page
from workflows.sign_in_kinds import SignInKind
from workflows.tenancy import Scope, scope_of


def sign_ins(
    *, tenant_id: uuid.UUID | None, kind: SignInKind | None = None, account: str = ""
) -> QuerySet[SignInRecord]:
    """Return the rows of a tenant, newest first."""
    of = {"tenant__isnull": True} if tenant_id is None else {"tenant_id": tenant_id}
    rows = SignInRecord.objects.filter(**of).order_by("-id")
    if kind is not None:
        rows = rows.filter(kind=kind)
    if account:
        rows = rows.filter(account_name=account)
    return rows


def sign_ins_without_tenant(rows: QuerySet[SignInRecord], *, superuser_id: str, at: str) -> KeysetPage:
    """Read one page of rows without a tenant. The database returns them only to the scope of a superuser."""
    with scope_of(Scope(user=superuser_id)):
        return keyset_page(rows, at=at)
