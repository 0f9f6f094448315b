"""Actors: the member, API client or system process that sends a request, with its tenant, role and source."""

import uuid
from dataclasses import dataclass
from typing import Any

from workflows.errors import PermissionRefused
from workflows.statuses import CommandSource, Role

_RANK = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.AUTHOR: 2, Role.ADMIN: 3}


def lower_role(one: Role, other: Role) -> Role:
    """Return the role that may do less."""
    return min(one, other, key=lambda role: _RANK[role])


@dataclass(frozen=True)
class Actor:
    """Sender of one request in one tenant."""

    kind: str  # user, token, system
    id: str
    name: str
    tenant_id: uuid.UUID
    role: Role
    source: CommandSource
    may_see_payloads: bool = False
    is_superuser: bool = False  # a superuser of the portal, or the command line
    username: str = ""  # of a person. `name` is the name that pages and the ledger show

    def has_role(self, needed: Role) -> bool:
        return _RANK[self.role] >= _RANK[needed]

    def require(self, needed: Role, *, to: str) -> None:
        """Refuse the request if the actor does not have this role.

        `to` names the action in the message, for example `cancel runs`.
        Errors: PermissionRefused; an administrator of the tenant can give the role.
        """
        if not self.has_role(needed):
            raise PermissionRefused(
                f"the role {self.role} may not {to}; it needs the role {needed} or a higher one",
                details={"role": str(self.role), "needed": str(needed)},
            )

    def require_superuser(self, *, to: str) -> None:
        """Refuse the request if the actor is no superuser. Errors: PermissionRefused."""
        if not self.is_superuser:
            raise PermissionRefused(
                f"only superusers of the portal may {to}; ask one of them", details={"needed": "superuser"}
            )

    @property
    def sees_payloads(self) -> bool:
        return self.may_see_payloads or self.has_role(Role.OPERATOR)


def system_actor(tenant_id: uuid.UUID, *, name: str) -> Actor:
    """Return the actor for work that no person and no API client has requested. `name` is the name of the process."""
    return Actor("system", "", name, tenant_id, Role.OPERATOR, CommandSource.SYSTEM)


def person_name(user: Any) -> str:
    """Return the name of a person that pages and the ledger show: first and last name, or the user name."""
    return str(user.get_full_name() or user.get_username())[:150]
