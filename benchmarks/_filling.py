"""Full tables for benchmarks. The portal creates one row of each table. The database then copies this row."""

import uuid
from typing import Any

from django.db import connections, models


def clone(row: models.Model, first: int, last: int, **columns: str) -> None:
    """Insert copies of a row, one for each `n` from `first` to `last`.

    `columns` are SQL expressions that can contain `n`. The id of each copy is derived from `n`.

    Triggers and foreign keys are switched off, because the referenced rows are created in the same way.
    """
    table = row._meta.db_table
    names = [field.column for field in row._meta.concrete_fields if not field.generated]
    given = {"id": copy_id(table), **columns}
    chosen = ", ".join(given.get(name, f'template."{name}"') for name in names)
    quoted = ", ".join(f'"{name}"' for name in names)
    with connections["owner"].cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            f'INSERT INTO "{table}" ({quoted}) SELECT {chosen} FROM "{table}" AS template,'
            f" generate_series({first}, {last}) AS n WHERE template.id = '{row.pk}'"
        )
        cursor.execute("SET session_replication_role = origin")
        cursor.execute(f'ANALYZE "{table}"')


def copy_id(table: str) -> str:
    """Return the id of the n-th copy in this table as an SQL expression. Other tables use the same expression."""
    return f"md5('{table}' || n)::uuid"


def fill(tenant: Any, *, first: int, last: int) -> None:
    """Store events, runs, waits and deliveries.

    For 1,000,000 events, it stores 200,000 runs, 200,000 waits and 500,000 deliveries. A fifth of the runs and waits is
    open.
    """
    from ingress.intake.receive import event_receive
    from tests.support.events import open_wait
    from tests.support.factories import make_run, make_tenant, publish
    from workflows.models import ApiToken, EventDelivery, EventKey, EventType
    from workflows.services.tokens import token_issue
    from workflows.statuses import EventSource, Role

    others = [make_tenant() for _ in range(20)]
    names = ", ".join(f"'{other.id}'" for other in others)
    owner = f"CASE WHEN n % 10 = 0 THEN (ARRAY[{names}]::uuid[])[1 + n / 10 % 20] ELSE '{tenant.id}'::uuid END"
    fifth = (first // 5 + 1, last // 5)
    few = (first, min(last, first + 2000))
    long_ago = "now() - interval '1 hour' - n * interval '1 second'"

    version = publish(
        tenant, {"id": "s", "type": "state.set", "config": {"state": "X"}}, key=f"template-{first}",
        trigger={"type": "event", "eventName": "TEMPLATE"},
    )  # fmt: skip
    run = make_run(tenant, definition_version=version)
    wait = open_wait(tenant, run=run, key="template", name="TEMPLATE")
    value = {"event_type": "TEMPLATE", "payload": {"ticketId": "template", "text": "x" * 200}}
    event = event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST).event
    delivery = EventDelivery.objects.create(
        tenant=tenant, event=event, kind="wait", wait=wait, run=run, status="matched"
    )
    entry = EventType.objects.create(tenant=tenant, name=f"template-{first}", buffer_seconds=60)
    token = ApiToken.objects.get(id=token_issue(tenant_id=tenant.id, name="template", role=Role.OPERATOR)[0].id)

    type_name = "'TYPE-' || n % 500"
    event_ids, run_ids, wait_ids = (copy_id(row._meta.db_table) for row in (event, run, wait))
    clone(
        event,
        first,
        last,
        tenant_id=owner,
        event_id="'filled-' || n",
        event_type=type_name,
        correlation_key="'K-' || n",
        correlation_keys="jsonb_build_array('K-' || n)",
        outcome="'unmatched'",
        received_at=long_ago,
        route_at=long_ago,
        routed_at=long_ago,
    )
    key = EventKey.objects.get(event=event)
    copied_key = {"event_id": event_ids, "event_type": type_name, "key": "'K-' || n", "received_at": long_ago}
    clone(key, first, last, tenant_id=owner, **copied_key)
    clone(run, *fifth, tenant_id=owner, temporal_workflow_id="'filled-' || n", correlation_key="'W-' || n")
    status = "CASE WHEN n % 5 = 0 THEN 'WAITING' ELSE 'RESOLVED' END"
    copied_wait = {"event_name": type_name, "status": status, "correlation_key": "'W-' || n", "opened_at": long_ago}
    clone(wait, *fifth, tenant_id=owner, run_id=run_ids, **copied_wait)
    half = (first // 2 + 1, last // 2)
    clone(delivery, *half, tenant_id=owner, event_id=event_ids, wait_id=wait_ids, run_id=run_ids)
    clone(entry, *few, tenant_id=owner, name="'catalogued-' || n")
    clone(token, *few, tenant_id=owner, token_hash="md5('' || n)")
    clone(
        version.definition,
        *few,
        tenant_id=owner,
        key="'filled-' || n",
        published_version_id=copy_id(version._meta.db_table),
    )
    definition_ids = copy_id(version.definition._meta.db_table)
    clone(version, *few, tenant_id=owner, definition_id=definition_ids, trigger_event_name="'STARTS-' || n")
    EventDelivery.objects.filter(id=delivery.id).delete()
    with connections["owner"].cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def fresh_waits(tenant: Any, names: list[str]) -> None:
    """Create an open wait for the event REPLIED with each of these keys."""
    from tests.support.factories import make_run
    from workflows.models import RunWait
    from workflows.projections.transaction import projection_writer

    run = make_run(tenant, temporal_workflow_id=f"bench-{uuid.uuid4()}")
    from django.utils import timezone

    with projection_writer("benchmark"):
        RunWait.objects.bulk_create(
            RunWait(
                tenant=tenant, run=run, step_path="root.steps[0]", step_id="w", kind="event", status="WAITING",
                event_name="REPLIED", correlation_key=name, opened_at=timezone.now(),
            )
            for name in names
        )  # fmt: skip
