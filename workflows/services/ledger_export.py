"""Signed exports of the command ledger for auditors (docs/reference/authority.md#signed-export).

The export itself is a row of the ledger. Its details have the manifest and the signature, so the file can be read again
later. The links of the chain never change.
"""

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, DependencyDown, InputInvalid, NotFound
from workflows.models import Command, CommandEntry, LedgerCheckpoint, Tenant
from workflows.services.idempotency import CommandRepeated, keyed_command_transaction
from workflows.services.ledger_export_format import FORMAT, link_line, manifest_line, signature_of
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role
from workflows.tenancy import tenant_scope

PAGE = 1000
TARGET = "ledger"


def require_export_role(*, actor: Actor, action: CommandAction = CommandAction.EXPORT_LEDGER) -> None:
    """Errors: PermissionRefused, which is recorded in the ledger."""
    require_role(actor=actor, needs=Role.ADMIN, to="export the ledger", action=action, target_type=TARGET)


def ledger_export_create(
    *,
    actor: Actor,
    since: datetime | None = None,
    until: datetime | None = None,
    reason: str = "",
    idempotency_key: str = "",
) -> Command:
    """Sign an export of the links that were written from `since` to before `until`. Return its ledger row.

    Without a time, the export begins with the first stored link or ends with the last one.

    Errors: PermissionRefused; InputInvalid LEDGER_PERIOD_EMPTY; Conflict LEDGER_LINK_MISSING; DependencyDown
    LEDGER_KEY_MISSING.
    """
    key_id, seed = next(iter(settings.LEDGER_EXPORT_KEYS.items()), ("", b""))
    try:
        with keyed_command_transaction(
            actor=actor,
            action=CommandAction.EXPORT_LEDGER,
            target_type=TARGET,
            target_id="",
            reason=reason,
            payload={"since": since and since.isoformat(), "until": until and until.isoformat()},
            idempotency_key=idempotency_key,
        ) as command:
            actor.require(Role.ADMIN, to="export the ledger")
            if not key_id:
                raise DependencyDown(
                    "the export cannot be signed, because LEDGER_EXPORT_KEYS is not set. An operator must set the key",
                    code="LEDGER_KEY_MISSING",
                )
            try:
                manifest = _manifest(actor, since, until)
            except (CommandEntry.DoesNotExist, LedgerCheckpoint.DoesNotExist) as error:
                raise Conflict(
                    "a link of the audit chain is missing. Retention may have deleted it at this moment, so try again."
                    " If the error stays, the chain is not intact, and an operator must run manage.py verify_audit",
                    code="LEDGER_LINK_MISSING",
                ) from error
            signature = signature_of(manifest, key_id=key_id, seed=seed)
            command.details = {"manifest": manifest, "signature": signature}
    except CommandRepeated as repeat:
        return repeat.command
    command.refresh_from_db()
    return command


def ledger_export_find(*, actor: Actor, export_id: uuid.UUID) -> Command:
    """Return the ledger row of an export. Errors: PermissionRefused; NotFound LEDGER_EXPORT_NOT_FOUND."""
    actor.require(Role.ADMIN, to="read exports of the ledger")
    exports = Command.objects.filter(tenant_id=actor.tenant_id, action=CommandAction.EXPORT_LEDGER, code="")
    row = exports.filter(id=export_id).first()
    if row is None or "manifest" not in (row.details or {}):
        raise NotFound(f"the tenant has no export {export_id}", code="LEDGER_EXPORT_NOT_FOUND")
    return row


def export_lines(export: Command) -> Iterator[bytes]:
    """Return the lines of the file: the manifest, then each link.

    The lines are read while the response is sent, so each page enters the scope of the tenant. Only one page is in
    memory at a time.

    Errors: Conflict LEDGER_EXPORT_DELETED if retention has deleted a link of the export. If this happens while the
    lines are read, the iterator raises it, so the download breaks off.
    """
    manifest = (export.details or {})["manifest"]
    with tenant_scope(export.tenant_id):
        # Only the beginning of the chain is deleted, so with the first link all links are stored.
        first = CommandEntry.objects.filter(tenant_id=export.tenant_id, seq=manifest["firstSequence"])
        if not first.exists():
            raise _deleted()
    return _lines(export, manifest)


def _lines(export: Command, manifest: dict[str, Any]) -> Iterator[bytes]:
    yield manifest_line(manifest)
    after, last = manifest["firstSequence"] - 1, manifest["lastSequence"]
    while after < last:
        with tenant_scope(export.tenant_id):
            links = CommandEntry.objects.filter(tenant_id=export.tenant_id, seq__gt=after, seq__lte=last)
            page = list(links.order_by("seq").values_list("seq", "hash", "content")[:PAGE])
        if not page or page[0][0] != after + 1:
            raise _deleted()
        yield from (link_line(*link) for link in page)
        after = page[-1][0]


def export_signature(export: Command) -> bytes:
    """Return the content of the signature file."""
    return json.dumps((export.details or {})["signature"], indent=2, sort_keys=True).encode() + b"\n"


def _manifest(actor: Actor, since: datetime | None, until: datetime | None) -> dict[str, Any]:
    links = CommandEntry.objects.filter(tenant_id=actor.tenant_id)
    low = links.order_by("seq").values_list("seq", flat=True).first()
    high = links.order_by("-seq").values_list("seq", flat=True).first()
    if low is None or high is None:
        raise _empty()
    first = low if since is None else _first_from(actor.tenant_id, since, low, high)
    last = high if until is None else _first_from(actor.tenant_id, until, low, high) - 1
    if first > last:
        raise _empty()
    tenant = Tenant.objects.get(id=actor.tenant_id)
    return {
        "format": FORMAT,
        "formatVersion": 1,
        "tenant": {"id": str(tenant.id), "slug": tenant.slug, "name": tenant.name},
        "since": since and since.isoformat(),
        "until": until and until.isoformat(),
        "exportedAt": timezone.now().isoformat(),
        "exportedBy": actor.name,
        "firstSequence": first,
        "lastSequence": last,
        "links": last - first + 1,
        "previousHash": _hash_of(actor.tenant_id, first - 1),
        "lastHash": _hash_of(actor.tenant_id, last),
    }


def _first_from(tenant_id: uuid.UUID, moment: datetime, low: int, high: int) -> int:
    """Return the first position that was written at `moment` or later, or the position after the last link.

    The links of a tenant are written one after the other, so their times are in order. Cost: about 20 statements for a
    million links, each with the unique index.
    """
    high += 1
    while low < high:
        middle = (low + high) // 2
        written_at = CommandEntry.objects.values_list("written_at", flat=True).get(tenant_id=tenant_id, seq=middle)
        low, high = (middle + 1, high) if written_at < moment else (low, middle)
    return low


def _hash_of(tenant_id: uuid.UUID, seq: int) -> str:
    """Return the hash of a link. The link before the first one was never written, or retention has deleted it."""
    if seq == 0:
        return ""
    found = CommandEntry.objects.filter(tenant_id=tenant_id, seq=seq).values_list("hash", flat=True).first()
    return found or LedgerCheckpoint.objects.values_list("hash", flat=True).get(tenant_id=tenant_id, seq=seq)


def _deleted() -> Conflict:
    return Conflict(
        "retention has deleted links of this export, so its file cannot be read again. Make a new export of the links"
        " that are left. A file that was downloaded earlier stays valid",
        code="LEDGER_EXPORT_DELETED",
    )


def _empty() -> InputInvalid:
    return InputInvalid(
        "the ledger has no entry in this period; choose another period. Retention deletes old entries",
        code="LEDGER_PERIOD_EMPTY",
    )
