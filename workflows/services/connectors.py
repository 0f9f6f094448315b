"""HTTP connectors of a tenant: save, delete, and lock them at publication (docs/reference/engine.md#http-connectors).

A connector version that a published definition version calls cannot be changed. A new version is made instead.
"""

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max

from workflows.actions.connector_spec import ConnectorSpec, spec_problems
from workflows.actions.connector_templates import text_places
from workflows.actions.registry import registered_actions
from workflows.actors import Actor
from workflows.engine.transforms import TRANSFORMS
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.ledger import target_name
from workflows.models import Connector
from workflows.models.connectors import ACTION_ID_PATTERN
from workflows.redaction import HIDDEN, compiled, redact
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.references import Referred, definition_references
from workflows.services.roles import require_role
from workflows.services.uses import connector_uses
from workflows.statuses import CommandAction, Role

MAX_VERSION = 1_000_000


@dataclass(frozen=True)
class SavedConnector:
    """Result of a save."""

    row: Connector
    is_new: bool


def connector_save(
    *, actor: Actor, action_id: str, version: int | None = None, spec: Any, idempotency_key: str = ""
) -> SavedConnector:
    """Save one version of a connector. If `version` is None, make the next version.

    Errors: PermissionRefused; InputInvalid CONNECTOR_INVALID with all problems; Conflict CONNECTOR_IN_USE if a
    published definition version calls this version, CONNECTOR_CHANGED if another request makes it at the same moment.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_CONNECTOR,
        target_type="connector",
        target_id=target_name(action_id),
        payload={"operation": "save", "version": version if isinstance(version, int) else None, **_fingerprint(spec)},
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.ADMIN, to="edit connectors")
        problems = connector_problems(action_id=action_id, version=version, spec=spec)
        if problems:
            first = problems[0]
            raise InputInvalid(
                f"{first['field'] or 'the connector'}{first['pointer']}: {first['message']}",
                code="CONNECTOR_INVALID",
                details={"problems": problems},
            )
        saved = _stored(actor, action_id, version, ConnectorSpec.model_validate(spec))
        command.details = {"created": saved.is_new, "version": saved.row.version}
        return saved


def connector_problems(*, action_id: Any, version: Any, spec: Any) -> list[dict[str, str]]:
    """Return all problems that prevent the storage of a connector.

    Shapes: `{field, pointer, message}`.
    """
    problems = []
    if not isinstance(action_id, str) or len(action_id) > 200 or not re.fullmatch(ACTION_ID_PATTERN, action_id):
        problems.append(_problem("action_id", f"must match {ACTION_ID_PATTERN} and have at most 200 characters"))
    elif action_id in {*(action.id for action in registered_actions()), *(name for name, _ in TRANSFORMS)}:
        problems.append(_problem("action_id", "is the id of an action that an app registers; choose another id"))
    is_number = isinstance(version, int) and not isinstance(version, bool) and 1 <= version <= MAX_VERSION
    if version is not None and not is_number:
        problems.append(_problem("version", f"must be a whole number from 1 to {MAX_VERSION}"))
    found = spec_problems(spec)
    return [*problems, *found, *([] if found else _literal_credentials(spec))]


def _problem(field: str, message: str, pointer: str = "") -> dict[str, str]:
    return {"field": field, "pointer": pointer, "message": message}


def _literal_credentials(spec: dict[str, Any]) -> list[dict[str, str]]:
    """Return a problem for each header and query parameter that seems to contain a credential in clear text."""
    return [
        _problem(
            field,
            'looks like a credential; save the value as a secret and write {"$secret": "NAME"}',
            f"/{name.replace('~', '~0').replace('/', '~1')}",
        )
        for field in ("headers", "query")
        for name, value in (spec.get(field) or {}).items()
        if isinstance(value, str) and not text_places(value) and redact({name: value}, compiled()) == {name: HIDDEN}
    ]


def connector_delete(*, actor: Actor, action_id: str, version: int, idempotency_key: str = "") -> None:
    """Delete a connector version that no published definition version calls.

    Errors: PermissionRefused, NotFound; Conflict CONNECTOR_IN_USE.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_CONNECTOR,
        target_type="connector",
        target_id=target_name(action_id),
        payload={"operation": "delete", "version": version},
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.ADMIN, to="delete connectors")
        row = _locked(actor.tenant_id, action_id, version)
        if row is None:
            raise _unknown(action_id, version)
        _require_unused(row)
        row.delete()


def connector_find(*, tenant_id: uuid.UUID, action_id: str, version: int) -> Connector:
    """Return a connector version of this tenant.

    Errors: NotFound. A connector of another tenant counts as not found.
    """
    row = Connector.objects.filter(tenant_id=tenant_id, action_id=action_id, version=version).first()
    if row is None:
        raise _unknown(action_id, version)
    return row


def require_connector_role(*, actor: Actor, action_id: str = "") -> None:
    """Refuse an actor who may not edit connectors.

    Call this function before errors in the request are reported.

    Errors: PermissionRefused; the attempt is recorded in the ledger.
    """
    require_role(
        actor=actor,
        needs=Role.ADMIN,
        to="edit connectors",
        action=CommandAction.EDIT_CONNECTOR,
        target_type="connector",
        target_id=target_name(action_id),
    )


def connectors_lock(*, tenant_id: uuid.UUID, document: dict[str, Any]) -> None:
    """Lock the connectors that a definition calls until its new version is committed.

    A change of such a connector waits for the lock, and then finds the new version among its users.
    """
    called = {
        (reference.name, reference.version)
        for reference in definition_references(document)
        if reference.kind == Referred.ACTION
    }
    rows = Connector.objects.filter(tenant_id=tenant_id, action_id__in=[name for name, _ in called])
    wanted = [pk for pk, name, version in rows.values_list("id", "action_id", "version") if (name, version) in called]
    locked = Connector.objects.select_for_update().filter(id__in=wanted).order_by("id")
    if len(locked) != len(wanted):
        raise Conflict(
            "a connector that the definition calls was deleted during the publication; publish the definition again",
            code="CONNECTOR_CHANGED",
        )


def _stored(actor: Actor, action_id: str, version: int | None, spec: ConnectorSpec) -> SavedConnector:
    versions = Connector.objects.filter(tenant_id=actor.tenant_id, action_id=action_id)
    number = version or (versions.aggregate(last=Max("version"))["last"] or 0) + 1
    row = _locked(actor.tenant_id, action_id, number)
    is_new = row is None
    if row is None:
        row = Connector(
            tenant_id=actor.tenant_id, action_id=action_id, version=number, created_by_name=actor.name[:200]
        )
    else:
        _require_unused(row)
    row.label, row.spec = spec.label, spec.model_dump(mode="json")
    try:
        with transaction.atomic():
            row.save(force_insert=is_new)
    except IntegrityError as error:
        raise Conflict(
            f"another request made {row} at the same moment; nothing was changed; send the request again",
            code="CONNECTOR_CHANGED",
        ) from error
    return SavedConnector(row, is_new)


def _require_unused(row: Connector) -> None:
    users = connector_uses(row)
    if users:
        raise Conflict(
            f"{row} is called by {users[0]}{f' and {len(users) - 1} more' if len(users) > 1 else ''}, so it cannot be"
            " changed or deleted; save the change as a new version",
            code="CONNECTOR_IN_USE",
            details={"usedBy": [use.as_object() for use in users]},
        )


def _locked(tenant_id: uuid.UUID, action_id: str, version: int) -> Connector | None:
    rows = Connector.objects.select_for_update()
    return rows.filter(tenant_id=tenant_id, action_id=action_id, version=version).first()


def _unknown(action_id: str, version: int) -> NotFound:
    return NotFound(f"there is no connector {action_id[:200]}@{version}", code="CONNECTOR_NOT_FOUND")


def _fingerprint(spec: Any) -> dict[str, str]:
    text = json.dumps(spec, sort_keys=True, default=str)
    return {"sha256": hashlib.sha256(text.encode(errors="replace")).hexdigest()}
