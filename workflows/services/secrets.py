"""Secrets of a tenant (docs/reference/administration.md#tenants-and-roles).

Administrators save, delete and rotate secrets. Only the activity that performs an action reads their values. No screen
and no response shows a value. For each change, the ledger records the name of the secret and the actor. These commands
accept no idempotency key, because with a key the ledger would store a hash of the value.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.views.decorators.debug import sensitive_variables

from workflows.actions.scrubbing import MIN_SECRET_LENGTH
from workflows.actors import Actor
from workflows.engine.errors import Category, RunError
from workflows.engine.secret_places import SECRET_NAME, is_secret_name
from workflows.engine.storable import storable_problem
from workflows.errors import DependencyDown, InputInvalid, NotFound
from workflows.ledger import target_name
from workflows.models import Secret
from workflows.secret_encryption import DecryptionFailed, KeyMissing, decrypt, encrypt, first_key_id
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role

MAX_SECRET_LENGTH = 65_536
MAX_DESCRIPTION_LENGTH = 2_000
USE_IS_RECORDED_EVERY = timedelta(minutes=1)


@sensitive_variables("value", "sealed")
def secret_save(
    *, actor: Actor, name: str, value: Any, description: str | None = None, idempotency_key: str = ""
) -> tuple[Secret, bool]:
    """Encrypt and store a value under this name. Return the secret, and True if the name is new.

    If the secret exists, its value is replaced. Open runs use the new value from their next action. If `description` is
    None, the description does not change.

    Errors: InputInvalid, PermissionRefused; DependencyDown if no encryption key is configured.
    """
    _require_valid_name(actor, name, CommandAction.SAVE_SECRET)
    payload = {"name": name} if description is None else {"name": name, "description": description}
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.SAVE_SECRET,
        target_type="secret",
        target_id=name,
        payload=payload,
        idempotency_key=idempotency_key,
        also_hashed=_keyed_hash(value) if idempotency_key else None,
    ) as command:
        actor.require(Role.ADMIN, to="save secrets")
        _require_valid_value(value)
        _require_valid_description(description)
        try:
            key_id, sealed = encrypt(value, tenant_id=actor.tenant_id, name=name)
        except KeyMissing as error:
            raise DependencyDown(str(error), code="SECRET_KEYS_MISSING") from error
        fields: dict[str, Any] = {"ciphertext": sealed, "key_id": key_id, "rotated_at": timezone.now()}
        if description is not None:
            fields["description"] = description
        secret, is_new = Secret.objects.update_or_create(
            tenant_id=actor.tenant_id,
            name=name,
            defaults=fields,
            create_defaults={**fields, "rotated_at": None, "created_by_name": actor.name[:200]},
        )
        command.details = {"created": is_new, "keyId": key_id}
    return secret, is_new


def _keyed_hash(value: Any) -> str:
    """Return a keyed hash of a value. Without Django's secret key, the value cannot be guessed from the hash."""
    return salted_hmac("secret_save", repr(value), algorithm="sha256").hexdigest()


def secret_delete(*, actor: Actor, name: str, reason: str = "", idempotency_key: str = "") -> None:
    """Delete a secret. From now on, actions that refer to this secret fail with SECRET_UNKNOWN.

    Errors: InputInvalid, PermissionRefused, NotFound.
    """
    _require_valid_name(actor, name, CommandAction.DELETE_SECRET)
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.DELETE_SECRET,
        target_type="secret",
        target_id=name,
        reason=reason,
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.ADMIN, to="delete secrets")
        deleted, _ = Secret.objects.filter(tenant_id=actor.tenant_id, name=name).delete()
        if not deleted:
            raise NotFound(f"there is no secret {name}", code="SECRET_NOT_FOUND")


@dataclass
class Rotation:
    """Result of a rotation. It has the names of the secrets by outcome. `unreadable` has the reason for each name."""

    rotated: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def secrets_rotate(*, actor: Actor, dry_run: bool = False) -> Rotation:
    """Find the secrets of the tenant that are not encrypted with the first key.

    Encrypt these secrets with the first key.

    The values of the secrets do not change.

    Idempotency: if a secret is already encrypted with the first key, it is not changed.
    Errors: PermissionRefused; DependencyDown if no encryption key is configured.
    """
    if dry_run or not Secret.objects.filter(tenant_id=actor.tenant_id).exists():  # no change, so no ledger row
        actor.require(Role.ADMIN, to="rotate secrets")
        return _rotate(actor, dry_run=True)
    with keyed_command_transaction(
        actor=actor, action=CommandAction.ROTATE_SECRETS, target_type="secrets", target_id="", payload=None
    ) as command:
        actor.require(Role.ADMIN, to="rotate secrets")
        rotation = _rotate(actor, dry_run=False)
        command.details = {"rotated": rotation.rotated, "unreadable": sorted(rotation.unreadable)}
    return rotation


def _rotate(actor: Actor, *, dry_run: bool) -> Rotation:
    rotation = Rotation()
    rows = Secret.objects.filter(tenant_id=actor.tenant_id).order_by("name")
    secrets = list(rows if dry_run else rows.select_for_update(no_key=True))
    try:
        first = first_key_id() if secrets else ""
    except KeyMissing as error:
        raise DependencyDown(str(error), code="SECRET_KEYS_MISSING") from error
    for secret in secrets:
        try:
            value = _decrypted(secret)
        except (KeyMissing, DecryptionFailed) as error:
            rotation.unreadable[secret.name] = str(error)
            continue
        if secret.key_id == first:
            rotation.current.append(secret.name)
            continue
        rotation.rotated.append(secret.name)
        if not dry_run:
            secret.key_id, secret.ciphertext = encrypt(value, tenant_id=secret.tenant_id, name=secret.name)
            secret.save(update_fields=["key_id", "ciphertext"])
    return rotation


@sensitive_variables("values")
def secret_values(*, tenant_id: uuid.UUID, names: Collection[str]) -> dict[str, str]:
    """Return the values of secrets by name. Only the activity that performs an action may call this function.

    The time of the last use is recorded at most once per minute.

    Errors: RunError SECRET_UNKNOWN. It is not retried, and an administrator must save the secret. RunError
    SECRET_UNREADABLE. It is retried, and an operator must restore the encryption key.
    """
    found = {secret.name: secret for secret in Secret.objects.filter(tenant_id=tenant_id, name__in=names)}
    missing = sorted(set(names) - found.keys())
    if missing:
        raise RunError(
            Category.VALIDATION,
            f"there is no secret {', '.join(missing)}; an administrator must save it",
            code="SECRET_UNKNOWN",
            details={"names": missing},
        )
    try:
        values = {name: _decrypted(secret) for name, secret in found.items()}
    except (KeyMissing, DecryptionFailed) as error:
        raise RunError(Category.TRANSIENT, str(error), code="SECRET_UNREADABLE") from error
    now = timezone.now()
    Secret.objects.filter(
        Q(last_used_at=None) | Q(last_used_at__lt=now - USE_IS_RECORDED_EVERY), tenant_id=tenant_id, name__in=names
    ).update(last_used_at=now)
    return values


def _decrypted(secret: Secret) -> str:
    return decrypt(bytes(secret.ciphertext), key_id=secret.key_id, tenant_id=secret.tenant_id, name=secret.name)


def require_secret_role(*, actor: Actor, name: str, action: CommandAction) -> None:
    """Refuse an actor who may not manage secrets.

    Call this function before errors in the request are reported.

    Errors: PermissionRefused; the attempt is recorded in the ledger.
    """
    require_role(
        actor=actor,
        needs=Role.ADMIN,
        to="manage secrets",
        action=action,
        target_type="secret",
        target_id=target_name(name),
    )


def _require_valid_name(actor: Actor, name: str, action: CommandAction) -> None:
    if not is_secret_name(name):
        require_secret_role(actor=actor, name=name, action=action)
        raise InputInvalid(
            f"a secret's name must match ^{SECRET_NAME.pattern}$ and have at most 200 characters",
            code="SECRET_NAME_INVALID",
        )


@sensitive_variables("value")
def _require_valid_value(value: Any) -> None:
    """Refuse an unusable value. The message must not contain any part of the value."""
    if not isinstance(value, str):
        problem: str | None = "must be text"
    elif len(value) > MAX_SECRET_LENGTH:
        problem = f"must have at most {MAX_SECRET_LENGTH} characters"
    elif len(value.strip()) < MIN_SECRET_LENGTH:
        problem = (
            f"must have at least {MIN_SECRET_LENGTH} characters; the portal cannot remove shorter values from logs and"
            " results reliably"
        )
    else:
        unstorable = storable_problem(value)
        problem = None if unstorable is None else unstorable[1]
    if problem is not None:
        raise InputInvalid(f"the value {problem}", code="SECRET_VALUE_INVALID")


def _require_valid_description(description: str | None) -> None:
    if description is not None and (len(description) > MAX_DESCRIPTION_LENGTH or storable_problem(description)):
        raise InputInvalid(f"the description must be text of at most {MAX_DESCRIPTION_LENGTH} characters")
