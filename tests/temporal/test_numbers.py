"""Whole numbers beyond 2^53 through all layers (docs/reference/language.md#numbers)."""

from typing import Any

from tests.support.factories import eventually, expr, publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver
from workflows.models import Run, RunWait
from workflows.temporal import connection

ID, OTHER_ID = 8202522731445525542, 8202522731445525999


def result_of(run: Run) -> dict[str, Any]:
    async def result(client: Any) -> Any:
        return await client.get_workflow_handle(run.temporal_workflow_id).result()

    return dict(connection.call(result))


def test_one_payment_resumes_only_its_own_run(driver: TenantDriver) -> None:
    keep = {
        "vars.id": expr("payload.ticketId"),
        "vars.sent": expr("vars.event.amount"),
        "vars.text": expr("'Payment ' & vars.event.amount"),
        "vars.same": expr(f"vars.event.ticketId = {ID}"),
        "vars.literal": expr(str(OTHER_ID)),
    }
    publish(
        driver.tenant,
        wait_for_reply(assign=keep),
        trigger={
            "type": "event",
            "eventName": "TICKET_CREATED",
            "payloadMapping": {"ticketId": expr("event.payload.ticketId")},
        },
    )
    for number in (ID, OTHER_ID):
        driver.send("TICKET_CREATED", {"ticketId": number})
    eventually(lambda: RunWait.objects.filter(tenant=driver.tenant, status="WAITING").count() == 2)
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": ID, "amount": 10**30})
    run = driver.wait_for_run("SUCCEEDED")
    assert RunWait.objects.get(run=run).correlation_key == str(ID)
    found = result_of(run)["vars"]
    assert {name: found[name] for name in ("id", "sent", "text", "same", "literal")} == {
        "id": ID, "sent": 10**30, "text": f"Payment {10**30}", "same": True, "literal": OTHER_ID,
    }  # fmt: skip
    other = Run.objects.exclude(id=run.id).get(tenant=driver.tenant)
    assert (other.status, other.correlation_key) == ("WAITING", str(OTHER_ID))
    assert run.input == {"ticketId": ID}
