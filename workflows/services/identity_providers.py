"""OpenID Connect providers of a tenant (docs/reference/sign-in.md#openid-connect).

Administrators manage them. Each change has a row in the command ledger. The client secret is a secret of the tenant.
"""

import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from workflows.actions.http_client import url_problem
from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.ledger import target_name
from workflows.models import IdentityProvider, Secret, Tenant
from workflows.models.sign_in import provider_id
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role
from workflows.tenancy import Scope, scope_of

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MAX_GROUPS, MAX_EXTRA_SCOPES = 200, 20
# Scopes that the portal always requests. A provider row can add others.
SCOPES = ("openid", "profile", "email")
# RFC 6749, section 3.3.
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")
# Role with the most permissions first.
RANKED = (Role.ADMIN, Role.AUTHOR, Role.OPERATOR, Role.VIEWER)


@dataclass(frozen=True)
class ProviderFields:
    """Properties of a provider. `roles` has the role of each group. `secret_name` is the name of a secret.

    `extra_scopes`: scopes that the portal requests besides SCOPES, for example `groups`.
    """

    issuer: str
    client_id: str
    secret_name: str
    group_claim: str = "groups"
    roles: dict[str, str] = field(default_factory=dict)
    extra_scopes: list[str] = field(default_factory=list)
    is_active: bool = True


def require_provider_role(*, actor: Actor, action: CommandAction) -> None:
    """Errors: PermissionRefused, which is recorded in the ledger."""
    require_role(
        actor=actor, needs=Role.ADMIN, to="manage identity providers", action=action, target_type="identity_provider"
    )


def identity_provider_save(
    *, actor: Actor, name: str, fields: ProviderFields, idempotency_key: str = ""
) -> tuple[IdentityProvider, bool]:
    """Create or change a provider. Return the row, and True if it is new.

    Errors: PermissionRefused; InputInvalid; Conflict if the issuer changes or another provider has it.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.SAVE_IDENTITY_PROVIDER,
        target_type="identity_provider",
        target_id=target_name(name),
        payload={
            "issuer": fields.issuer, "clientId": fields.client_id, "groupClaim": fields.group_claim,
            "roles": fields.roles, "extraScopes": fields.extra_scopes, "isActive": fields.is_active,
        },
        idempotency_key=idempotency_key,
    ) as command:  # fmt: skip
        actor.require(Role.ADMIN, to="manage identity providers")
        _require_valid(actor.tenant_id, name, fields)
        before = _locked(actor.tenant_id, name)
        if before is not None and before.issuer != fields.issuer:
            raise Conflict(
                f"the provider {name} has the issuer {before.issuer}. Its accounts belong to it. Create another"
                " provider for the new issuer, and delete this one",
                code="ISSUER_IS_FIXED",
            )
        row = before or IdentityProvider(
            id=provider_id(actor.tenant_id, fields.issuer),
            tenant_id=actor.tenant_id,
            name=name,
            sign_in_name=Tenant.objects.get(id=actor.tenant_id).slug,
        )
        for column, value in vars(fields).items():
            setattr(row, column, value)
        try:
            with transaction.atomic():
                row.save(force_insert=before is None)
        except IntegrityError as error:
            raise Conflict(
                f"another provider of this tenant has the issuer {fields.issuer}, or was created with the name {name}"
                " at this moment. Change that provider",
                code="ISSUER_IS_USED",
            ) from error
        command.details = {"created": before is None}
    return row, before is None


def identity_provider_delete(*, actor: Actor, name: str, reason: str = "", idempotency_key: str = "") -> None:
    """Delete a provider. Its accounts and memberships stay, and nobody can sign in through it.

    If a provider with the same issuer is created again, its accounts are the same.

    Errors: PermissionRefused, NotFound.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.DELETE_IDENTITY_PROVIDER,
        target_type="identity_provider",
        target_id=target_name(name),
        reason=reason,
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.ADMIN, to="manage identity providers")
        row = _locked(actor.tenant_id, name)
        if row is None:
            raise NotFound(f"the tenant has no identity provider {name}", code="IDENTITY_PROVIDER_NOT_FOUND")
        row.delete()


def identity_provider_by_id(id_text: str) -> IdentityProvider | None:
    """Return an active provider of an active tenant. The caller needs no tenant."""
    try:
        wanted = uuid.UUID(id_text)
    except ValueError:
        return None
    return next(iter(_active(str(wanted), id=wanted)), None)


def identity_providers_of(slug: str) -> list[IdentityProvider]:
    """Return the active providers of the active tenant with this slug. The caller needs no tenant."""
    return _active(slug, sign_in_name=slug) if NAME.fullmatch(slug) else []


def _active(key: str, **wanted: Any) -> list[IdentityProvider]:
    with scope_of(Scope(token_hash=key)):
        rows = list(IdentityProvider.objects.filter(is_active=True, **wanted).order_by("name"))
    if rows:
        with scope_of(Scope(tenant=str(rows[0].tenant_id))):
            if not Tenant.objects.filter(id=rows[0].tenant_id, is_active=True).exists():
                return []
    return rows


def role_of_groups(provider: IdentityProvider, groups: Any) -> Role | None:
    """Return the highest role of the groups, or None. `groups` is the value of the claim: a text or a list."""
    names = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    found = {provider.roles[name] for name in names if isinstance(name, str) and name in provider.roles}
    return next((role for role in RANKED if role in found), None)


def _locked(tenant_id: uuid.UUID, name: str) -> IdentityProvider | None:
    return IdentityProvider.objects.select_for_update().filter(tenant_id=tenant_id, name=name).first()


def _require_valid(tenant_id: uuid.UUID, name: str, fields: ProviderFields) -> None:
    """Errors: InputInvalid. The administrator must correct the property that the message names."""
    problem = ""
    if not NAME.fullmatch(name) or len(name) > 63:
        problem = f"{name[:100]!r} is not a name. Use at most 63 small letters, digits and single hyphens"
    elif _issuer_problem(fields.issuer):
        problem = _issuer_problem(fields.issuer)
    elif not 1 <= len(fields.client_id.strip()) <= 191:
        problem = "the client id has 1 to 191 characters; your identity provider gives it"
    elif not 1 <= len(fields.group_claim.strip()) <= 100:
        problem = "the group claim has 1 to 100 characters, for example groups"
    elif not Secret.objects.filter(tenant_id=tenant_id, name=fields.secret_name).exists():
        problem = f"there is no secret {fields.secret_name[:200]}. Save the client secret under Secrets first"
    elif not fields.roles:
        problem = "no group has a role, so nobody could sign in. Add a group with its role"
    elif len(fields.roles) > MAX_GROUPS:
        problem = f"at most {MAX_GROUPS} groups can have a role"
    elif unknown := [group for group, role in fields.roles.items() if role not in Role.values or not group]:
        problem = f"the group {unknown[0][:100]!r} has no valid role. Roles are {', '.join(Role.values)}"
    problem = problem or _scopes_problem(fields.extra_scopes)
    if problem:
        raise InputInvalid(problem, code="IDENTITY_PROVIDER_INVALID")


def _scopes_problem(scopes: list[str]) -> str:
    if len(scopes) > MAX_EXTRA_SCOPES:
        return f"a provider can have at most {MAX_EXTRA_SCOPES} extra scopes"
    for number, scope in enumerate(scopes):
        if not SCOPE.fullmatch(scope):
            return f"the scope {scope[:100]!r} has 1 to 100 ASCII characters without spaces, quotes and backslashes"
        if scope in SCOPES or scope in scopes[:number]:
            return f"the scope {scope} is requested already; remove it from the extra scopes"
    return ""


def _issuer_problem(issuer: str) -> str:
    problem = url_problem(issuer)
    if problem is None and len(issuer) > 500:
        problem = "The issuer has more than 500 characters."
    if problem is None and not issuer.startswith("https://") and not is_private_host(issuer):
        problem = "The issuer must start with https://."
    return f"the issuer is wrong. {problem} Copy `issuer` from your provider's configuration" if problem else ""


def is_private_host(url: str) -> bool:
    """Return True if HTTP_ALLOWED_PRIVATE_HOSTS permits the host of a URL. Such a host may be called without TLS."""
    host = url.partition("://")[2].partition("/")[0].lower()
    return bool({host, host.partition(":")[0]} & {name.lower() for name in settings.HTTP_ALLOWED_PRIVATE_HOSTS})
