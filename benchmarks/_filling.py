"""Tables as full as those of a busy desk, made by the database itself from one row of each that the portal made."""

import uuid
from typing import Any

from django.db import connections, models


def clone(row: models.Model, first: int, last: int, **columns: str) -> None:
    """Copies of a row. `columns` are SQL expressions over `n` (`first` to `last`); the primary key is made of `n`.

    Triggers and foreign keys are off: the rows that are pointed at are made the same way.
    """
    table = row._meta.db_table
    names = [field.column for field in row._meta.concrete_fields]
    given = {"id": made_id(table), **columns}
    chosen = ", ".join(given.get(name, f'template."{name}"') for name in names)
    quoted = ", ".join(f'"{name}"' for name in names)
    with connections["owner"].cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            f'INSERT INTO "{table}" ({quoted}) SELECT {chosen} FROM "{table}" AS template, generate_series({first}, {last}) AS n '
            f"WHERE template.id = '{row.pk}'"
        )
        cursor.execute("SET session_replication_role = origin")
        cursor.execute(f'ANALYZE "{table}"')


def made_id(table: str) -> str:
    """The id of the n-th copy in this table, as SQL; another table points at it with the same."""
    return f"md5('{table}' || n)::uuid"


def fill(tenant: Any, *, first: int, last: int) -> None:
    """So many stored events; of 1,000,000: 200,000 runs and waits, a fifth of them open, and half a million deliveries."""
    from ingress.intake.receive import event_receive
    from tests.support.events import open_wait
    from tests.support.factories import make_run, make_tenant, publish
    from workflows.models import ApiToken, EventDelivery, EventKey, EventType
    from workflows.services.tokens import token_issue
    from workflows.statuses import EventSource, Role

    others = [make_tenant() for _ in range(20)]
    names = ", ".join(f"'{other.id}'" for other in others)
    whose = f"CASE WHEN n % 10 = 0 THEN (ARRAY[{names}]::uuid[])[1 + n / 10 % 20] ELSE '{tenant.id}'::uuid END"
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
    clone(event, first, last, tenant_id=whose, event_id="'filled-' || n", event_type=type_name, correlation_key="'K-' || n",
          correlation_keys="jsonb_build_array('K-' || n)", outcome="'unmatched'", received_at=long_ago,
          route_at=long_ago, routed_at=long_ago)  # fmt: skip
    key = EventKey.objects.get(event=event)
    clone(key, first, last, tenant_id=whose, event_id=made_id(event._meta.db_table), event_type=type_name, key="'K-' || n",
          received_at=long_ago)  # fmt: skip
    clone(run, *fifth, tenant_id=whose, temporal_workflow_id="'filled-' || n", correlation_key="'W-' || n")
    is_open = "CASE WHEN n % 5 = 0 THEN 'WAITING' ELSE 'RESOLVED' END"
    clone(wait, *fifth, tenant_id=whose, run_id=made_id(run._meta.db_table), event_name=type_name, status=is_open,
          correlation_key="'W-' || n", opened_at=long_ago)  # fmt: skip
    clone(delivery, first // 2 + 1, last // 2, tenant_id=whose, event_id=made_id(event._meta.db_table), wait_id=made_id(wait._meta.db_table),
          run_id=made_id(run._meta.db_table))  # fmt: skip
    clone(entry, *few, tenant_id=whose, name="'catalogued-' || n")
    clone(token, *few, tenant_id=whose, token_hash="md5('' || n)")
    clone(
        version.definition,
        *few,
        tenant_id=whose,
        key="'filled-' || n",
        published_version_id=made_id(version._meta.db_table),
    )
    clone(version, *few, tenant_id=whose, definition_id=made_id(version.definition._meta.db_table),
          trigger_event_name="'STARTS-' || n")  # fmt: skip
    EventDelivery.objects.filter(id=delivery.id).delete()
    with connections["owner"].cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def fresh_waits(tenant: Any, names: list[str]) -> None:
    """An open wait for REPLIED under each of these keys."""
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
