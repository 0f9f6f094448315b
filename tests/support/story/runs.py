"""Chapter "the other definitions": tickets, refunds, invoices, the settlement and card renewals."""

from datetime import timedelta
from typing import Any

from tests.support.story.people import Desk
from tests.support.story.telling import Telling, error_of
from workflows.models import HumanTask, Run
from workflows.statuses import TaskStatus, TriggerType

CHANNELS = [{"path": "channel", "op": "in", "value": ["mail", "portal"]}]


def tell_other_runs(desk: Desk) -> dict[str, Run]:
    """Tell the runs of the other definitions. Return them by their key."""
    runs = {**_tickets(desk), **_refunds(desk), **_invoices(desk), **_cards(desk)}
    runs["SET-1124"] = _settlement(desk)
    return runs


# -- Tickets -----------------------------------------------------------------------------------------------------------


def _ticket(desk: Desk, key: str, minutes: float, customer: str, priority: int = 2) -> Telling:
    payload = {"id": key, "customer": customer, "priority": priority}
    telling = desk.telling("ticket-escalation", 4, minutes=minutes, payload=payload)
    telling.start(key, trigger_type=TriggerType.EVENT)
    return telling.step("waiting").step("ask", took=1.2, input={"id": key}, output={"sent": True})


def _waits_for_reply(telling: Telling, deadline_minutes: float, desk: Desk) -> Run:
    key = telling.payload["id"]
    telling.step("answer", status="STARTED").step("reply", status="STARTED")
    telling.wait(
        "reply", "event", deadline=desk.at(deadline_minutes), eventName="TICKET_CUSTOMER_REPLIED", key=key,
        filters=CHANNELS,
    )  # fmt: skip
    return telling.tell("WAITING", "reply")


def _tickets(desk: Desk) -> dict[str, Run]:
    runs = {
        "TCK-4471": _waits_for_reply(_ticket(desk, "TCK-4471", 250, "Halden Bikes AS"), -119, desk),
        "TCK-4398": _waits_for_reply(_ticket(desk, "TCK-4398", 387, "Lumen Dental"), 17, desk),
        "TCK-4417": _replied(desk, "TCK-4417", 262, reply_after=80),
        "TCK-4466": _replied(desk, "TCK-4466", 180, reply_after=122),
    }
    for number, minutes in ((4480, 44), (4483, 31), (4488, 12)):
        key = f"TCK-{number}"
        runs[key] = _waits_for_reply(_ticket(desk, key, minutes, "Nordlys Café"), minutes - 370, desk)
    for key, title, due in (("TCK-4452", "Call the customer", -57), ("TCK-4468", "Confirm the address", -1495)):
        telling = _reply_steps(_ticket(desk, key, 300, "Bergen Marine", priority=3), 110)
        telling.step("urgent", branch="then").step("duty", took=0.4, output={"posted": True})
        telling.task("call_customer", title=title, due=desk.at(due), contextData={"customer": "Bergen Marine"})
        runs[key] = telling.tell("WAITING", "call_customer")
    return runs


def _reply_steps(telling: Telling, minutes: float) -> Telling:
    opened, key = telling.at, telling.payload["id"]
    wait = {"eventName": "TICKET_CUSTOMER_REPLIED", "key": key, "filters": CHANNELS}
    wait_id = telling.wait("reply", "event", deadline=opened + timedelta(hours=6), **wait)
    telling.after(minutes * 60).event_count += 1
    telling.wait("reply", "event", id=wait_id, opened=opened, status="RESOLVED", **wait)
    return telling.step("reply", since=opened).step("answer", since=opened, branch="try")


def _replied(desk: Desk, key: str, minutes: float, *, reply_after: float) -> Run:
    telling = _reply_steps(_ticket(desk, key, minutes, "Ada Okafor"), reply_after)
    telling.step("urgent", branch="else")
    output = {"payload": telling.payload, "vars": {}, "meta": {"state": "WAITING_FOR_CUSTOMER"}}
    return telling.tell("SUCCEEDED", "urgent", output=output)


# -- Refunds -----------------------------------------------------------------------------------------------------------


def _refund(desk: Desk, key: str, version: int, minutes: float, amount: float) -> Telling:
    payload = {"id": key, "amount": amount, "customer": "Nordlys Café", "order": "8 chairs, 6 days late"}
    telling = desk.telling("refund-approval", version, minutes=minutes, payload=payload)
    return telling.start(key, trigger_type=TriggerType.EVENT)


def _refunds(desk: Desk) -> dict[str, Run]:
    runs = {}
    open_tasks = (
        ("REF-311", 200, 480.0, -37, "Maya"),
        ("REF-318", 150, 62.5, -142, "Jonas"),
        ("REF-320", 60, 120.0, -1132, ""),
    )
    for key, minutes, amount, due, claimed_by in open_tasks:
        telling = _refund(desk, key, 4, minutes, amount)
        context = {"customer": "Nordlys Café", "paid": f"EUR {amount:.2f} on 12 Nov", "order": telling.payload["order"]}
        title = f"Approve a refund of EUR {amount:.2f}"
        task_id = telling.task("approve", title=title, due=desk.at(due), contextData=context)
        runs[key] = telling.tell("WAITING", "approve")
        _claim(desk, task_id, claimed_by)
    for key, minutes in (("REF-301", 139), ("REF-304", 121), ("REF-306", 96)):
        telling = _refund(desk, key, 4, minutes, 75.0).step("approve", took=12)
        error = error_of("The ledger of November is closed.", "LEDGER_CLOSED", status=409)
        telling.step("post", took=0.5, status="FAILED", input={"id": key}, error=error)
        runs[key] = telling.tell("FAILED", "post", error=error)
    return runs


def _claim(desk: Desk, task_id: Any, first_name: str) -> None:
    if first_name:
        HumanTask.objects.filter(id=task_id).update(
            status=TaskStatus.CLAIMED, claimed_by=desk.users[first_name], claimed_at=desk.at(17)
        )


# -- Invoices, with child runs -----------------------------------------------------------------------------------------


def _invoice(desk: Desk, key: str, version: int, minutes: float) -> Telling:
    telling = desk.telling(
        "invoice-dunning", version, minutes=minutes, payload={"id": key, "customer": "Harrow & Pike"}
    )
    return telling.start(key, requested_by="Maya Lindqvist")


def _told_team(desk: Desk, telling: Telling) -> Telling:
    """Tell the child run of an invoice, which has ended."""
    parent, step = telling.run, telling.steps["notify"]
    child = Telling(desk.versions["notify-team", 1], at=telling.at, payload={"id": telling.payload["id"]})
    child.start(
        telling.payload["id"], trigger_type=TriggerType.CHILD, parent_run=parent, parent_step_path=step.path,
        root_run=parent,
    )  # fmt: skip
    child.step("post", took=0.6, input={"id": telling.payload["id"]}, output={"posted": True})
    run = child.tell("SUCCEEDED", "post", output={"payload": child.payload, "vars": {}, "meta": {}})
    return telling.step("notify", took=0.9, childRunId=str(run.id))


def _invoices(desk: Desk) -> dict[str, Run]:
    runs = {}
    for key, minutes, due in (("INV-2207", 1430, -7), ("INV-2211", 700, -740), ("INV-2214", 90, -1350)):
        telling = _invoice(desk, key, 7, minutes).step("remind", took=1.4, output={"sent": True})
        _told_team(desk, telling).step("pause", status="STARTED")
        telling.wait("pause", "time", deadline=desk.at(due))
        runs[key] = telling.tell("WAITING", "pause")
    error = error_of("The mailbox of the customer is full.", "MAILBOX_UNAVAILABLE", status=452)
    for key, version, minutes in (
        ("INV-2180", 6, 1287), ("INV-2192", 7, 415), ("INV-2195", 7, 362), ("INV-2198", 7, 240), ("INV-2203", 7, 175),
    ):  # fmt: skip
        telling = _invoice(desk, key, version, minutes)
        telling.step("remind", took=2.2, status="FAILED", input={"id": key}, error=error)
        runs[key] = telling.tell("FAILED", "remind", error=error)
    return runs


# -- The settlement and the cards --------------------------------------------------------------------------------------


def _settlement(desk: Desk) -> Run:
    """Tell the run that has failed nine times, because the bank accepts no files until half past two."""
    payload = {"id": "SET-1124", "payments": 412}
    telling = desk.telling("daily-settlement", 5, minutes=52, payload=payload)
    telling.start("SET-1124", trigger_type=TriggerType.RECURRING)
    telling.step("collect", took=400, output={"rows": 412}).step("write", took=72, output={"file": "SET-1124.csv"})
    error = error_of("File service closed until 14:30.", "MAINTENANCE", category="TransientError", status=503)
    pauses = (15, 30, 60, 120, 240, 480, 602, 602)
    telling.at = desk.at(8.2) - timedelta(seconds=sum(pauses))
    for attempt, pause in enumerate((*pauses, 598), start=1):
        next_at = telling.at + timedelta(seconds=pause)
        telling.step(
            "upload", took=1, attempt=attempt, status="RETRY_SCHEDULED", counts=False, input={"id": "SET-1124"},
            error=error, nextAttemptAt=int(next_at.timestamp() * 1000),
        )  # fmt: skip
        telling.at = next_at if attempt < 9 else telling.at
    telling.wait("upload", "retry", deadline=next_at)
    return telling.tell("RUNNING", "upload")


def _cards(desk: Desk) -> dict[str, Run]:
    runs = {}
    error = error_of("The issuer did not respond within 20 s.", "TIMEOUT", category="TimeoutError")
    for key, minutes in (("CRD-41", 242), ("CRD-44", 206)):
        telling = desk.telling("card-renewal", 1, minutes=minutes, payload={"id": key})
        telling.start(key, trigger_type=TriggerType.EVENT)
        telling.step("ask", took=20, status="FAILED", input={"id": key}, error=error)
        runs[key] = telling.tell("FAILED", "ask", error=error)
    return runs
