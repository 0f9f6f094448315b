"""Lists of members, tokens and invitations of a tenant, with a search (docs/reference/administration.md#members)."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from workflows.actors import lower_role
from workflows.models import ApiToken, Invitation, TenantMembership
from workflows.selectors.keyset import KeysetPage, keyset_page
from workflows.statuses import Role

# Numbers of days that the page "Members" offers for `absent_members`.
ABSENT_DAYS = ("30", "90")
MOST_DAYS = 36_500


def absent_members(rows: QuerySet[TenantMembership], *, days: int) -> QuerySet[TenantMembership]:
    """Return the members who have not signed in for this many days.

    For a member who has never signed in, the days begin with the membership.
    """
    end = timezone.now() - timedelta(days=days)
    return rows.alias(seen_at=Coalesce("user__last_login", "created_at")).filter(seen_at__lt=end)


def members_page(*, tenant_id: uuid.UUID, search: str = "", at: str = "", absent: str = "") -> KeysetPage:
    """Return members by the names of their accounts.

    The search finds a part of the name of the account, of the person's name and of the e-mail address. `absent` is one
    of ABSENT_DAYS: only members who have not signed in for this time.
    """
    rows = TenantMembership.objects.select_related("user").filter(tenant_id=tenant_id)
    if absent:
        rows = absent_members(rows, days=int(absent))
    if search:
        parts = ("username", "email", "first_name", "last_name")
        found = Q()
        for part in parts:
            found |= Q(**{f"user__{part}__icontains": search})
        rows = rows.filter(found)
    return keyset_page(rows.order_by("user__username"), at=at)


def tokens_page(*, tenant_id: uuid.UUID, search: str = "", at: str = "") -> KeysetPage:
    """Return tokens, newest first, with the role that each one has now in `role_now`.

    The search finds a part of the name of the token and of its person, and the beginning of the token.
    """
    rows = ApiToken.objects.select_related("created_by").filter(tenant_id=tenant_id)
    if search:
        of_person = Q(created_by__username__icontains=search)
        rows = rows.filter(Q(name__icontains=search) | of_person | Q(prefix__startswith=search))
    page = keyset_page(rows.order_by("-created_at", "-id"), at=at)
    with_roles_now(page.rows)
    return page


def invitations_page(*, tenant_id: uuid.UUID, search: str = "", at: str = "") -> KeysetPage:
    """Return invitations, newest first. The search finds a part of the e-mail address and of the inviter's name."""
    rows = Invitation.objects.filter(tenant_id=tenant_id)
    if search:
        rows = rows.filter(Q(email__icontains=search) | Q(created_by_name__icontains=search))
    return keyset_page(rows.order_by("-created_at", "-id"), at=at)


def with_roles_now(tokens: Sequence[Any]) -> Sequence[Any]:
    """Set `role_now` of each token to the role of `token_roles_now`, and return the tokens."""
    roles = token_roles_now(tokens)
    for token in tokens:
        token.role_now = roles[token.id]
    return tokens


def token_roles_now(rows: Sequence[ApiToken]) -> dict[uuid.UUID, Role | None]:
    """Return the role that each token of one tenant has now, by the id of the token. None: the token has ended.

    A token can do no more than the person who saw it: the person can have a lower role now, or be no member any more.
    Tokens of commands have no person. Call it in the scope of the tenant. Cost: one statement.
    """
    found: dict[uuid.UUID, Role | None] = {row.id: Role(row.role) for row in rows}
    accounts = {row.id: row.created_by for row in rows if row.created_by and not row.created_by.is_superuser}
    if not accounts:
        return found
    members = TenantMembership.objects.filter(user__in=accounts.values(), tenant_id=rows[0].tenant_id)
    roles = dict(members.values_list("user_id", "role"))
    for token_id, account in accounts.items():
        own, of_person = found[token_id], roles.get(account.pk)
        found[token_id] = lower_role(own, Role(of_person)) if own and of_person else None
    return found
