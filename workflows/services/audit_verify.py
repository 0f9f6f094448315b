"""The audit chain of the command ledger, looked at link by link (PRODUCT 2.5).

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

from workflows.models import CommandEntry

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
    Cost: reads all links and all ledger rows of the tenant, in pages.
    """
    report = AuditReport(tenant_id)
    last_of: dict[uuid.UUID, str] = {}
    has_expected = not expected_hash
    for seq, command_id, content, found in _links(tenant_id):
        report.links += 1
        if seq != report.links:
            report.problems.append(f"link {report.links} is missing; link {seq} follows")
            report.links = seq
        if hashlib.sha256((report.last_hash + content).encode()).hexdigest() != found:
            report.problems.append(f"link {seq} does not fit its hash: it, or the link before it, was changed")
        report.last_hash = found
        has_expected |= found == expected_hash
        last_of[command_id] = content
    if not has_expected:
        report.problems.append(f"the hash {expected_hash} of an earlier verification is not in the chain any more")
    for command_id, content in _rows(tenant_id):
        report.commands += 1
        report.problems += _compared(command_id, content, last_of.pop(command_id, None))
    report.problems += [f"command {command_id} has links and no row" for command_id in last_of]
    return report


def _links(tenant_id: uuid.UUID) -> Iterator[tuple[int, uuid.UUID, str, str]]:
    after = 0
    while True:
        page = list(
            CommandEntry.objects.filter(tenant_id=tenant_id, seq__gt=after)
            .order_by("seq")
            .values_list("seq", "command_id", "content", "hash")[:PAGE]
        )
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1][0]


def _rows(tenant_id: uuid.UUID) -> Iterator[tuple[uuid.UUID, str]]:
    """Ledger rows as the database would write them into a link now."""
    after = uuid.UUID(int=0)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, workflow_audit_content(command) FROM workflow_commands AS command "
                "WHERE tenant_id = %s AND id > %s ORDER BY id LIMIT %s",
                [tenant_id, after, PAGE],
            )
            page = cursor.fetchall()
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1][0]


def _compared(command_id: uuid.UUID, content: str, last: str | None) -> list[str]:
    if last is None:
        return [f"command {command_id} has no link: it was written behind the chain"]
    row: dict[str, Any] = json.loads(content)
    told: dict[str, Any] = json.loads(last)
    # A column that a later release has added is in no older link.
    changed = sorted(name for name, value in told.items() if row.get(name) != value)
    return [f"command {command_id} was changed behind the chain: {', '.join(changed)}"] if changed else []
