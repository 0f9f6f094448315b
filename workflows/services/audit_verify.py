"""Verification of the audit chain of the command ledger (docs/reference/authority.md#command-ledger).

The verification finds these manipulations:
- A changed link does not match its own hash.
- A removed or inserted link breaks the numbering or the hash of the next link.
- If a ledger row was changed while the trigger was off, the row differs from its last link.
- If the request of a ledger row was rewritten and a link for the new text was added, the row differs from its first
  link.

Retention deletes the beginning of a chain and leaves a checkpoint with the position and the hash of the last deleted
link. The verification starts there. If a ledger row is older than the checkpoint, its first stored link is a later one.

An attacker who rewrites every link after some point can produce a valid chain. Therefore store the last hash of a
verification outside the database. Give this hash to the next verification with `--expect`.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef

from workflows.models import Command, CommandEntry, LedgerCheckpoint
from workflows.models.commands import REQUEST_FIELDS
from workflows.models.read_only import reading_only

PAGE = 1000
SHOWN_PROBLEMS = 20
REQUEST_COLUMNS = frozenset(field.attname for field in Command._meta.concrete_fields if field.name in REQUEST_FIELDS)


@dataclass
class AuditReport:
    """Result of a verification. The chain is intact if `problems` is empty."""

    tenant_id: uuid.UUID
    links: int = 0
    commands: int = 0
    last_hash: str = ""
    pruned_links: int = 0
    problems: list[str] = field(default_factory=list)


def audit_verify(*, tenant_id: uuid.UUID, expected_hash: str = "") -> AuditReport:
    """Verify every link and every ledger row of a tenant.

    `expected_hash` is the last hash of an earlier verification. This hash must still be in the chain.
    The database is read as it was at the start. So retention, which can delete links meanwhile, is no manipulation.
    Cost: the function reads all links and ledger rows of the tenant in pages. Only one page is in memory at a time.
    """
    with reading_only():
        return _verified(tenant_id, expected_hash)


def _verified(tenant_id: uuid.UUID, expected_hash: str) -> AuditReport:
    report = AuditReport(tenant_id)
    point = LedgerCheckpoint.objects.filter(tenant_id=tenant_id).first()
    if point is not None:
        report.pruned_links, report.last_hash = point.seq, point.hash
    has_expected = expected_hash in ("", report.last_hash)
    position = report.pruned_links
    for link in _links(tenant_id):
        report.links += 1
        position += 1
        if link.seq != position:
            report.problems.append(f"link {position} is missing; link {link.seq} follows")
            position = link.seq
        if hashlib.sha256((report.last_hash + link.content).encode()).hexdigest() != link.hash:
            report.problems.append(f"link {link.seq} does not match its hash: this link or the one before was changed")
        report.last_hash = link.hash
        has_expected |= link.hash == expected_hash
    if not has_expected:
        report.problems.append(
            f"the hash {expected_hash} of an earlier verification is no longer in the chain{_since(point)}"
        )
    for row in _rows(tenant_id):
        report.commands += 1
        report.problems += _row_problems(row)
    report.problems += [f"command {command_id} has links and no row" for command_id in _without_row(tenant_id)]
    return report


def _since(point: LedgerCheckpoint | None) -> str:
    if point is None:
        return ""
    return (
        f"; retention deleted the links up to {point.seq} at {point.pruned_at:%Y-%m-%d %H:%M:%S} UTC,"
        f" and the hash of link {point.seq} is {point.hash}"
    )


@dataclass(frozen=True)
class _Link:
    seq: int
    content: str
    hash: str


@dataclass(frozen=True)
class _Row:
    """Ledger row.

    `content` is the content that its next link would have. If the row has no link, `first_link` and `last_link` are
    None.
    """

    command_id: uuid.UUID
    content: str
    first_link: str | None
    last_link: str | None


def _links(tenant_id: uuid.UUID) -> Iterator[_Link]:
    after = 0
    while True:
        entries = CommandEntry.objects.filter(tenant_id=tenant_id, seq__gt=after).order_by("seq")
        page = [_Link(*values) for values in entries.values_list("seq", "content", "hash")[:PAGE]]
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].seq


def _rows(tenant_id: uuid.UUID) -> Iterator[_Row]:
    """Return every ledger row together with its first and its last link."""
    after = uuid.UUID(int=0)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT command.id, workflow_audit_content(command), first.content, last.content "
                "FROM workflow_commands AS command "
                "LEFT JOIN LATERAL (SELECT content FROM workflow_command_entries AS link "
                "WHERE link.command_id = command.id ORDER BY link.seq LIMIT 1) AS first ON true "
                "LEFT JOIN LATERAL (SELECT content FROM workflow_command_entries AS link "
                "WHERE link.command_id = command.id ORDER BY link.seq DESC LIMIT 1) AS last ON true "
                "WHERE command.tenant_id = %s AND command.id > %s ORDER BY command.id LIMIT %s",
                [tenant_id, after, PAGE],
            )
            page = [_Row(*values) for values in cursor.fetchall()]
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].command_id


def _without_row(tenant_id: uuid.UUID) -> list[uuid.UUID]:
    """Return the first commands that have links but no row.

    Such a row was deleted while the foreign key was switched off.
    """
    rows = Command.objects.filter(tenant_id=tenant_id, id=OuterRef("command_id"))
    links = CommandEntry.objects.filter(~Exists(rows), tenant_id=tenant_id)
    return list(links.order_by().values_list("command_id", flat=True).distinct()[:SHOWN_PROBLEMS])


def _row_problems(row: _Row) -> list[str]:
    if row.first_link is None or row.last_link is None:
        return [f"command {row.command_id} has no link: it was inserted without the trigger"]
    current: dict[str, Any] = json.loads(row.content)
    problems = []
    changed = _differences(json.loads(row.last_link), current)
    if changed:
        problems.append(f"command {row.command_id} was changed without a link: {', '.join(changed)}")
    # The outcome of a command is written later than its request. So the request is the same in every link.
    rewritten = sorted(set(_differences(json.loads(row.first_link), current)) & REQUEST_COLUMNS - set(changed))
    if rewritten:
        problems.append(
            f"the request of command {row.command_id} was changed after it became part of the audit chain: "
            f"{', '.join(rewritten)}"
        )
    return problems


def _differences(linked: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """Return the columns of the link whose values differ from the row.

    Only columns of the link are compared, because an old link does not have the columns of a later release.
    """
    return sorted(name for name, value in linked.items() if current.get(name) != value)
