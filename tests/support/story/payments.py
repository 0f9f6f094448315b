"""Chapter "Payment capture": version 2 fails at the bank, a first replay fails too, and version 3 repairs it."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any

from tests.support.story.people import Desk
from tests.support.story.telling import Telling, error_of
from workflows.engine.unknown_outcomes import decision_form
from workflows.models import ActionInvocation, Run, RunStep
from workflows.projections.transaction import projection_writer
from workflows.statuses import TriggerType

KEY = "payment-capture"
CUSTOMERS = cycle(
    ["Atelier Wolff", "Mina Sato", "Bergen Marine", "Sofia Brandt", "Café Río", "Ivo Marek", "Ada Okafor"]
)
# Number, minutes ago, amount and customer of the failed runs that other chapters name.
NAMED = {
    144: (9, 89.9, "Ada Okafor"),
    105: (20, 1050, "Halden Bikes AS"),
    139: (38, 312.4, "Nordlys Café"),
    131: (86, 640, "Harrow & Pike"),
    127: (105, 27, "Oskar Lind"),
    112: (128, 420, "Ferry & Sons Ltd"),
    119: (131, 149, "Priya Raman"),
    140: (134, 1180, "Studio Kanto"),
}
# Minutes ago at which the 33 other runs failed.
OTHERS = [141, 145, 149, 153, 157, 161, 166, 171, 175, 179, 183, 187, 191, 195, 199, 203, 207, 211]
OTHERS += [215, 219, 223, 227, 231, 235, 239, 243, 249, 254, 259, 264, 270, 277, 285]
OTHER_NUMBERS = [n for n in range(99, 144) if n not in NAMED][: len(OTHERS)]
JOB_MINUTES = 8


def payment(number: int, amount: float, customer: str, rows: int = 2) -> dict[str, Any]:
    value: dict[str, Any] = {"id": f"PAY-{number:03}", "amount": amount, "currency": "EUR", "customer": customer}
    if number == 131:
        del value["currency"]  # the input that does not fit version 3
    return value | {"rows": [{"line": line + 1, "total": round(amount / rows, 2)} for line in range(rows)]}


def tell_payments(desk: Desk) -> dict[str, Run]:
    """Tell all runs of Payment capture. Return the runs that other chapters need, by their key."""
    failed = {f"PAY-{n:03}": _failed(desk, n, *NAMED[n], rows=300 if n == 105 else 2) for n in NAMED}
    for place, (number, minutes) in enumerate(zip(OTHER_NUMBERS, OTHERS, strict=True)):
        amount = (1200.0 if place % 2 else 45.5) + 7 * place
        failed[f"PAY-{number:03}"] = _failed(desk, number, minutes, amount, next(CUSTOMERS))
    runs = dict(failed)
    runs["PAY-094"] = _canceled(desk)
    runs["PAY-098"] = _outcome_unknown(desk)
    runs["PAY-087"] = _retrying_receipt(desk, 87, 68, 76, "Ivo Marek", attempt=3, next_in=40)
    _retrying_receipt(desk, 86, 71, 61, "Ada Okafor", attempt=4, next_in=190)
    for number, minutes in ((97, 96), (96, 150), (95, 210)):
        _succeeded(desk, number, 2, minutes, 1999, next(CUSTOMERS), settle=110)
    for number in range(88, 93):
        runs[f"PAY-{number:03}"] = _waiting(desk, number, 2, 90 + number, 80.0 + number, next(CUSTOMERS))
    _version_3(desk)
    for number in range(25):
        _waiting(desk, 10 + number, 1, 300 + 35 * number, 20.0 + number, next(CUSTOMERS))
    _older(desk)
    return runs


# -- Parts of one run --------------------------------------------------------------------------------------------------


def _begin(desk: Desk, number: int, version: int, minutes: float, value: dict[str, Any], **fields: Any) -> Telling:
    """Tell the steps before the capture."""
    fields.setdefault("trigger_type", TriggerType.EVENT)
    telling = desk.telling(KEY, version, minutes=minutes, payload=value).start(f"PAY-{number:03}", **fields)
    telling.step("capturing")
    _rows(telling, len(value["rows"]))
    if value["amount"] <= 1000:
        return telling.step("large", branch="else").step("skip")
    telling.step("large", branch="then")
    made = {"id": f"rsv_{number:x}c07", "status": "reserved"}
    began = telling.at
    telling.step("reserve", took=0.7, input=_request(value), output=made)
    _called(telling, "reserve", began, status="SUCCEEDED", input=_request(value), output=made)
    return telling


def _called(telling: Telling, step_id: str, began: datetime, **fields: Any) -> None:
    """Write the row of the action ledger for a step that has ended now."""
    step = telling.steps[step_id]
    ActionInvocation.objects.create(
        tenant_id=telling.run.tenant_id, run=telling.run, step_path=step.path, action_id=step.config["actionId"],
        action_version=step.config["version"], idempotency_key=f"{telling.run.id}/{step.path}", started_at=began,
        ended_at=telling.at, **fields,
    )  # fmt: skip


def _rows(telling: Telling, rows: int, *, upto: int | None = None) -> None:
    """Tell the rows of the invoice. Of 300 rows, every third row has a wrong total."""
    began = telling.at
    for row in range(rows if upto is None else upto):
        wrong = rows > 2 and row % 3 == 1
        checked, at = telling.at, str(row)
        line = {"row": telling.payload["rows"][row]}
        if wrong:
            error = error_of("The total of the row does not match.", "ROW_TOTAL_MISMATCH", expected=3.5, found=3.05)
            telling.step("compare", took=0.002, iteration=at, status="FAILED", input=line, error=error)
            telling.step("rejected", iteration=at)
        else:
            telling.step("compare", took=0.002, iteration=at, input=line, output={"equal": True})
        telling.step("row_check", took=0.001, iteration=at, since=checked, branch="catch" if wrong else "try")
    if upto is None:
        telling.step("rows", since=began)
    else:
        telling.step("rows", since=began, status="STARTED")


def _request(value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {name: value[name] for name in ("id", "amount", "currency") if name in value} | more


def _not_found(number: int) -> dict[str, Any]:
    message = f"No payment with the id PAY-{number:03} exists."
    body = {"error": {"code": "NOT_FOUND", "message": message, "request": f"b7e2-{number:x}17"}}
    return error_of(message, "NOT_FOUND", status=404, body=json.dumps(body))


def _captured(telling: Telling) -> Telling:
    began, sent = telling.at, _request(telling.payload, reservation="")
    output = {"status": "captured", "id": telling.payload["id"]}
    telling.step("capture", took=0.8, input=sent, output=output)
    _called(telling, "capture", began, status="SUCCEEDED", input=sent, output=output)
    return telling


# -- The runs ----------------------------------------------------------------------------------------------------------


def _failed(desk: Desk, number: int, minutes: float, amount: float, customer: str, rows: int = 2, **fields: Any) -> Run:
    value = payment(number, amount, customer, rows)
    # The run took about 8 s. It failed this number of minutes ago.
    telling = _begin(desk, number, 2, minutes + 8 / 60, value, **fields)
    began, error, sent = telling.at, _not_found(number), _request(value, reservation="")
    for attempt, (took, pause) in enumerate(((0.6, 1.0), (0.7, 2.1)), start=1):
        telling.step(
            "capture", took=took, attempt=attempt, status="RETRY_SCHEDULED", counts=False, input=sent, error=error,
            nextAttemptAt=int((telling.at + timedelta(seconds=took + pause)).timestamp() * 1000),
        ).after(pause)  # fmt: skip
    telling.step("capture", took=1.6, attempt=3, status="FAILED", input=sent, error=error)
    _called(telling, "capture", began, status="FAILED", input=sent, error=error, executions=3)
    return telling.tell("FAILED", "capture", error=error)


def tell_replays(desk: Desk, failed: dict[str, Run]) -> dict[str, Run]:
    """Tell the replays of job 31, which failed too. Return each replay by its key."""
    replays = {}
    for place, (key, run) in enumerate(sorted(failed.items())):
        value = run.input
        replays[key] = _failed(
            desk, int(key[4:]), JOB_MINUTES - place * 0.01, value["amount"], value["customer"],
            replay_of=run, trigger_type=TriggerType.REPLAY, requested_by="Jonas Weber",
        )  # fmt: skip
    return replays


def _succeeded(
    desk: Desk, number: int, version: int, minutes: float, amount: float, customer: str, settle: float
) -> None:
    telling = _captured(_begin(desk, number, version, minutes, payment(number, amount, customer)))
    wait_id, opened = telling.wait("settled", "event", eventName="PAYMENT_SETTLED", key=f"PAY-{number:03}"), telling.at
    telling.after(settle).event_count += 1
    telling.wait(
        "settled", "event", id=wait_id, opened=opened, status="RESOLVED", eventName="PAYMENT_SETTLED",
        key=f"PAY-{number:03}",
    )  # fmt: skip
    telling.step("settled", since=opened).step("receipt", took=1.2, output={"sent": True}).step("done")
    output = {"payload": telling.payload, "vars": {}, "meta": {"state": "CAPTURED"}}
    telling.tell("SUCCEEDED", "done", output=output)


def _waiting(desk: Desk, number: int, version: int, minutes: float, amount: float, customer: str) -> Run:
    telling = _captured(_begin(desk, number, version, minutes, payment(number, amount, customer)))
    telling.step("settled", status="STARTED")
    deadline = telling.at + timedelta(days=2)
    telling.wait("settled", "event", deadline=deadline, eventName="PAYMENT_SETTLED", key=f"PAY-{number:03}")
    return telling.tell("WAITING", "settled")


def _canceled(desk: Desk) -> Run:
    telling = _captured(_begin(desk, 94, 2, 124, payment(94, 55, "Sofia Brandt")))
    opened, key = telling.at, {"eventName": "PAYMENT_SETTLED", "key": "PAY-094"}
    wait_id = telling.wait("settled", "event", deadline=opened + timedelta(days=2), **key)
    telling.at = desk.at(54)
    telling.wait("settled", "event", id=wait_id, opened=opened, status="CANCELED", **key)
    telling.step("settled", since=opened, status="CANCELED")
    return telling.tell("CANCELED", "settled")


def _outcome_unknown(desk: Desk) -> Run:
    value = payment(98, 2300, "Lumen Dental")
    telling = desk.telling(KEY, 2, minutes=63, payload=value).start("PAY-098", trigger_type=TriggerType.EVENT)
    telling.step("capturing")
    _rows(telling, 2)
    telling.step("large", branch="then")
    started = telling.at
    telling.step("reserve", status="STARTED", input=_request(value)).after(31)
    lost = "The worker was lost before a response arrived. Whether the request had its effect is unknown."
    context = {
        "action": "bank.reserve@1",
        "request": _request(value),
        "idempotencyKey": f"{telling.run.id}:reserve",
        "attempts": 1,
        "startedAt": started.isoformat(),
        "error": lost,
    }
    telling.task(
        "reserve", title="Did bank.reserve@1 have its effect?", due=desk.at(-24), formSchema=decision_form({}),
        taskType="action.decide_outcome", contextData=context, description=lost, allowSystem=False,
    )  # fmt: skip
    return telling.tell("WAITING", "reserve")


def _retrying_receipt(
    desk: Desk, number: int, minutes: float, amount: float, customer: str, *, attempt: int, next_in: float
) -> Run:
    telling = _captured(_begin(desk, number, 2, minutes, payment(number, amount, customer)))
    telling.step("settled", took=64)
    due, busy = desk.now + timedelta(seconds=next_in), error_of("Service busy.", "HTTP_421", status=421)
    telling.at = max(telling.at, desk.at(20))
    for number_of_attempt in range(1, attempt + 1):
        next_at = due if number_of_attempt == attempt else telling.at + timedelta(minutes=3)
        telling.step(
            "receipt", took=0.9, attempt=number_of_attempt, status="RETRY_SCHEDULED", counts=False, error=busy,
            input={"id": f"PAY-{number:03}"}, nextAttemptAt=int(next_at.timestamp() * 1000),
        )  # fmt: skip
        telling.at = min(next_at, desk.now)
    telling.wait("receipt", "retry", opened=desk.at(8), deadline=due)
    return telling.tell("RUNNING", "receipt")


def _version_3(desk: Desk) -> None:
    _succeeded(desk, 119, 3, 3.4, 149, "Priya Raman", settle=93)
    _succeeded(desk, 145, 3, 2.6, 18.5, "Mina Sato", settle=108)
    _waiting(desk, 140, 3, 3.9, 1180, "Studio Kanto")
    _waiting(desk, 112, 3, 3.2, 420, "Ferry & Sons Ltd")
    telling = _begin(desk, 127, 3, 1.4, payment(127, 27, "Oskar Lind"))
    telling.step("capture", status="STARTED", input=_request(telling.payload, reservation=""))
    telling.tell("RUNNING", "capture")
    telling = desk.telling(KEY, 3, minutes=0.2, payload=payment(146, 230, "Atelier Wolff", rows=120))
    telling.start("PAY-146", trigger_type=TriggerType.EVENT).step("capturing")
    _rows(telling, 120, upto=84)
    telling.tell("RUNNING", "rows")


def _older(desk: Desk) -> None:
    """Create the closed runs of version 1: 105 in the last 24 hours with steps, and the rest of seven days without."""
    rows, steps = [], []
    for place in range(1100):
        minutes = 292 + place * 10.5 if place < 105 else 1450 + (place - 105) * 8.6
        telling = desk.telling(KEY, 1, minutes=minutes, payload=payment(1000 + place, 20 + place, next(CUSTOMERS)))
        rows.append(_closed(telling, f"PAY-{1000 + place}", seconds=95 + place % 60))
        if place < 105:
            steps += list(_steps_of(telling, rows[-1]))
    with projection_writer("story"):
        Run.objects.bulk_create(rows)
        RunStep.objects.bulk_create(steps)


def _closed(telling: Telling, key: str, *, seconds: float) -> Run:
    version, ended = telling.version, telling.at + timedelta(seconds=seconds)
    return Run(
        tenant_id=version.tenant_id, definition=version.definition, definition_version=version, definition_key=KEY,
        version=version.version, definition_hash=version.definition_hash, semantics_version=2, status="SUCCEEDED",
        state="CAPTURED", trigger_type=TriggerType.EVENT, correlation_key=key, input=telling.payload,
        temporal_workflow_id=f"story-{key}", created_at=telling.at, started_at=telling.at, ended_at=ended,
        projected_at=ended, step_count=11, event_count=1, current_step_path="root.steps[6]",
    )  # fmt: skip


def _steps_of(telling: Telling, run: Run) -> Iterator[RunStep]:
    times = {"capturing": 0.0, "capture": 0.8 + telling.payload["amount"] % 7 / 10, "settled": 92.0, "receipt": 1.2}
    for seq, (step_id, took) in enumerate(times.items(), start=1):
        step, started = telling.steps[step_id], telling.at
        telling.after(took)
        yield RunStep(
            tenant_id=run.tenant_id, run=run, step_path=step.path, step_id=step.id, step_type=step.type,
            name=step.name, status="SUCCEEDED", started_at=started, ended_at=telling.at, projection_seq=seq,
        )  # fmt: skip
