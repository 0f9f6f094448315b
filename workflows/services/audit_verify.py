"""The audit chain of the command ledger, looked at link by link (docs/reference/authority.md#command-ledger).

A link that was changed breaks its own hash; one that was taken out or put in breaks the numbers or the next link's hash;
a ledger row that was changed behind the chain differs from its last link. Who can rewrite every link from some point on can
make a chain that fits: keep the last hash of a verification elsewhere (`--expect` compares with it).
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef

from workflows.models import Command, CommandEntry

PAGE = 1000
SHOWN_PROBLEMS = 20


@dataclass
class AuditReport:
    tenant_id: uuid.UUID
    links: int = 0
    commands: int = 0
    last_hash: str = ""
    problems: list[str] = field(default_factory=list)


def audit_verify(*, tenant_id: uuid.UUID, expected_hash: str = "") -> AuditReport:
    """What is wrong with the tenant's chain; nothing when `problems` is empty.

    `expected_hash` is the last hash that an earlier verification told: it must still stand in the chain.
    Cost: reads all links and all ledger rows of the tenant, in pages; holds one page.
    """
    report = AuditReport(tenant_id)
    has_expected = not expected_hash
    for seq, content, found in _links(tenant_id):
        report.links += 1
        if seq != report.links:
            report.problems.append(f"link {report.links} is missing; link {seq} follows")
            report.links = seq
        if hashlib.sha256((report.last_hash + content).encode()).hexdigest() != found:
            report.problems.append(f"link {seq} does not fit its hash: it, or the link before it, was changed")
        report.last_hash = found
        has_expected |= found == expected_hash
    if not has_expected:
        report.problems.append(f"the hash {expected_hash} of an earlier verification is not in the chain any more")
    for command_id, content, last in _rows(tenant_id):
        report.commands += 1
        report.problems += _compared(command_id, content, last)
    report.problems += [f"command {command_id} has links and no row" for command_id in _without_row(tenant_id)]
    return report


def _links(tenant_id: uuid.UUID) -> Iterator[tuple[int, str, str]]:
    after = 0
    while True:
        page = list(
            CommandEntry.objects.filter(tenant_id=tenant_id, seq__gt=after)
            .order_by("seq")
            .values_list("seq", "content", "hash")[:PAGE]
        )
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1][0]


def _rows(tenant_id: uuid.UUID) -> Iterator[tuple[uuid.UUID, str, str | None]]:
    """Ledger rows as the database would write them into a link now, and the last link of each. Both in one statement: a row
    that changes while the ledger is verified is seen with the link of the same commit.
    """
    after = uuid.UUID(int=0)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT command.id, workflow_audit_content(command), last.content FROM workflow_commands AS command "
                "LEFT JOIN LATERAL (SELECT content FROM workflow_command_entries AS link WHERE link.command_id = command.id "
                "ORDER BY link.seq DESC LIMIT 1) AS last ON true "
                "WHERE command.tenant_id = %s AND command.id > %s ORDER BY command.id LIMIT %s",
                [tenant_id, after, PAGE],
            )
            page = cursor.fetchall()
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1][0]


def _without_row(tenant_id: uuid.UUID) -> list[uuid.UUID]:
    """The first few. A row was taken out only with the foreign key switched off."""
    rows = Command.objects.filter(tenant_id=tenant_id, id=OuterRef("command_id"))
    links = CommandEntry.objects.filter(~Exists(rows), tenant_id=tenant_id)
    return list(links.order_by().values_list("command_id", flat=True).distinct()[:SHOWN_PROBLEMS])


def _compared(command_id: uuid.UUID, content: str, last: str | None) -> list[str]:
    if last is None:
        return [f"command {command_id} has no link: it was written behind the chain"]
    row: dict[str, Any] = json.loads(content)
    told: dict[str, Any] = json.loads(last)
    # A column that a later release has added is in no older link.
    changed = sorted(name for name, value in told.items() if row.get(name) != value)
    return [f"command {command_id} was changed behind the chain: {', '.join(changed)}"] if changed else []
