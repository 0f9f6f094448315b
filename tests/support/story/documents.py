"""Definitions, connectors and payload schemas of the story."""

from typing import Any

from tests.support.factories import expr

Step = dict[str, Any]
BANK = "https://api.bank.example/v2"


def call(step_id: str, name: str, action: str, version: int = 1, *, attempts: int = 1, **config: Any) -> Step:
    step: Step = {
        "id": step_id,
        "type": "action.call",
        "name": name,
        "config": {"actionId": action, "version": version, **config},
    }
    return step | ({"retry": {"maxAttempts": attempts, "backoffMs": 1000}} if attempts > 1 else {})


def state(step_id: str, name: str, value: str) -> Step:
    return {"id": step_id, "type": "state.set", "name": name, "config": {"state": value}}


def event_wait(step_id: str, name: str, event_name: str, key: str, **config: Any) -> Step:
    wait = {"eventName": event_name, "correlationKey": expr(key), **config}
    return {"id": step_id, "type": "event.wait", "name": name, "config": wait}


def task(step_id: str, name: str, title: Any, form: dict[str, Any], **config: Any) -> Step:
    values = {"taskType": step_id, "title": title, "formSchema": form, "assignees": {"roles": ["operator"]}, **config}
    return {"id": step_id, "type": "human.task", "name": name, "config": values}


def event_trigger(name: str) -> dict[str, Any]:
    return {"type": "event", "eventName": name, "payloadMapping": {"id": expr("event.payload.id")}}


def payment_capture(version: int) -> dict[str, Any]:
    """Return the document of Payment capture. Version 2 calls a new path of the bank, which does not work."""
    rows = {
        "id": "row_check",
        "type": "control.tryCatch",
        "name": "Check the row",
        "captureErrorAs": "vars.problem",
        "try": [
            call("compare", "Compare the totals", "totals.compare", inputMapping={"row": expr("row")}),
        ],
        "catch": [
            {
                "id": "rejected",
                "type": "transform.assign",
                "name": "Count as rejected",
                "config": {"assign": {"vars.rejected": expr("coalesce(vars.rejected, 0) + 1")}},
            }
        ],
    }
    payment = {"id": expr("payload.id"), "amount": expr("payload.amount"), "currency": expr("payload.currency")}
    reserve = call("reserve", "Reserve the amount", "bank.reserve", inputMapping=payment, saveAs="vars.reservation")
    capture = call(
        "capture",
        "Capture at the bank",
        "bank.capture",
        2 if version == 2 else 1,
        attempts=3,
        inputMapping={**payment, "reservation": expr("coalesce(vars.reservation.id, '')")},
        idempotencyKey=expr("payload.id & ':capture'"),
    )
    steps = [
        state("capturing", "Mark as capturing", "CAPTURING"),
        {
            "id": "rows",
            "type": "control.forEach",
            "name": "Each invoice row",
            "items": expr("coalesce(payload.rows, [])"),
            "itemVar": "row",
            "body": [rows],
        },
        {
            "id": "large",
            "type": "control.if",
            "name": "Amount over EUR 1,000?",
            "condition": expr("payload.amount > 1000"),
            "then": [reserve],
            "else": [state("skip", "Skip the reservation", "CAPTURING")],
        },
        capture,
        event_wait("settled", "Bank confirms settlement", "PAYMENT_SETTLED", "payload.id", timeoutMs=172_800_000),
        call("receipt", "Send the receipt", "mail.receipt", attempts=5, inputMapping={"id": expr("payload.id")}),
        state("done", "Done", "CAPTURED"),
    ]
    schema = {"payloadSchemaRef": "payload.Payment.v1"} if version == 3 else {}
    return {**_head("payment-capture", "Payment capture", "PAYMENT_DUE"), **schema, "steps": steps}


def ticket_escalation() -> dict[str, Any]:
    reply = event_wait(
        "reply", "Customer replies", "TICKET_CUSTOMER_REPLIED", "payload.id", timeoutMs=22_200_000,
        filters=[{"path": "channel", "op": "in", "value": ["mail", "portal"]}],
    )  # fmt: skip
    steps = [
        state("waiting", "Mark as waiting for customer", "WAITING_FOR_CUSTOMER"),
        call("ask", "Ask the customer", "mail.question", inputMapping={"id": expr("payload.id")}),
        {
            "id": "answer",
            "type": "control.tryCatch",
            "name": "Wait for the answer",
            "try": [reply],
            "catch": [call("tell", "Tell the team", "chat.post", inputMapping={"id": expr("payload.id")})],
        },
        {
            "id": "urgent",
            "type": "control.if",
            "name": "Priority 3 or more?",
            "condition": expr("coalesce(payload.priority, 0) >= 3"),
            "then": [call("duty", "Escalate to duty manager", "chat.post", inputMapping={"id": expr("payload.id")})],
            "else": [],
        },
        task(
            "call_customer", "Call the customer", expr("'Call the customer of ' & payload.id"),
            {"type": "object", "required": ["reached"], "properties": {"reached": {"type": "boolean"}}},
            dueInMs=7_200_000,
        ),
    ]  # fmt: skip
    return {**_head("ticket-escalation", "Ticket escalation", "TICKET_CREATED"), "steps": steps}


REFUND_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["decision", "amount", "payOutOn"],
    "additionalProperties": False,
    "properties": {
        "decision": {"title": "Decision", "enum": ["Approve", "Approve a part", "Reject"]},
        "amount": {"title": "Amount to refund", "type": "number", "minimum": 0, "maximum": 480},
        "payOutOn": {"title": "Pay out on", "type": "string", "format": "date"},
        "tellBy": {
            "title": "Tell the customer by",
            "enum": ["E-mail", "Phone", "Text message", "Letter", "Chat", "Customer portal", "Nothing"],
        },
        "costCentre": {"title": "Cost centre", "type": "string"},
        "reasons": {
            "title": "Reasons",
            "type": "array",
            "uniqueItems": True,
            "items": {"enum": ["Damaged", "Late delivery", "Charged twice", "Other"]},
        },
        "comment": {"title": "Comment", "type": "string", "maxLength": 500},
    },
}


def refund_approval() -> dict[str, Any]:
    steps = [
        task(
            "approve", "Approve a refund", expr("'Approve a refund of EUR ' & toString(payload.amount)"), REFUND_FORM,
            contextData={"customer": expr("payload.customer"), "order": expr("payload.order")}, dueInMs=14_400_000,
        ),
        call("post", "Post the refund", "ledger.post", inputMapping={"id": expr("payload.id")}),
    ]  # fmt: skip
    return {**_head("refund-approval", "Refund approval", "REFUND_REQUESTED"), "steps": steps}


def invoice_dunning() -> dict[str, Any]:
    child = {
        "id": "notify",
        "type": "control.callWorkflow",
        "name": "Tell the account team",
        "workflowId": "notify-team",
        "workflowVersion": 1,
        "inputMapping": {"id": expr("payload.id")},
    }
    steps = [
        call("remind", "Send the reminder", "mail.receipt", inputMapping={"id": expr("payload.id")}),
        child,
        {
            "id": "pause",
            "type": "time.wait",
            "name": "Before reminder 2",
            "config": {"mode": "duration", "durationMs": 86_400_000},
        },
        call("remind_again", "Send reminder 2", "mail.receipt", inputMapping={"id": expr("payload.id")}),
    ]
    return {**_head("invoice-dunning", "Invoice dunning", ""), "steps": steps}


def notify_team() -> dict[str, Any]:
    steps = [call("post", "Post to the channel", "chat.post", inputMapping={"id": expr("payload.id")})]
    return {**_head("notify-team", "Notify team", ""), "steps": steps}


def daily_settlement() -> dict[str, Any]:
    steps = [
        call("collect", "Collect the payments", "ledger.post", inputMapping={}),
        call("write", "Write the settlement file", "ledger.post", inputMapping={}),
        call("upload", "Upload to the bank", "files.upload", attempts=12, inputMapping={"id": expr("payload.id")}),
        event_wait("accepted", "Bank accepts the file", "FILE_ACCEPTED", "payload.id", timeoutMs=7_200_000),
        state("done", "Settled", "SETTLED"),
    ]
    return {**_head("daily-settlement", "Daily settlement", ""), "steps": steps}


def card_renewal() -> dict[str, Any]:
    steps = [call("ask", "Ask the issuer", "bank.reserve", inputMapping={"id": expr("payload.id")})]
    return {**_head("card-renewal", "Card renewal", "CARD_EXPIRES"), "steps": steps}


def _head(key: str, name: str, event_name: str) -> dict[str, Any]:
    head: dict[str, Any] = {"id": key, "version": 1, "name": name, "payloadSchemaRef": "payload.Any.v1"}
    return head | ({"trigger": event_trigger(event_name)} if event_name else {})


def _connector(label: str, url: str, *, is_idempotent: bool = True, **more: Any) -> dict[str, Any]:
    request = {"method": "POST", "url": url, "body": {"$input": ""}}
    return {"label": label, **request, "is_idempotent": is_idempotent, **more}


# Action id, version and specification of each connector.
CONNECTORS: list[tuple[str, int, dict[str, Any]]] = [
    ("bank.reserve", 1, _connector("Reserve an amount", f"{BANK}/reservations", is_idempotent=False)),
    ("bank.capture", 1, _connector("Capture a payment", "https://api.bank.example/v1/payments/{id}/capture")),
    ("bank.capture", 2, _connector("Capture a payment", f"{BANK}/payments/{{id}}/capture")),
    ("totals.compare", 1, _connector("Compare totals", "https://totals.northgate.example/compare")),
    ("mail.receipt", 1, _connector("Send a receipt", "https://mail.northgate.example/receipts")),
    ("mail.question", 1, _connector("Ask a customer", "https://mail.northgate.example/questions")),
    ("chat.post", 1, _connector("Post to a channel", "https://chat.northgate.example/posts", is_idempotent=False)),
    ("ledger.post", 1, _connector("Post to the ledger", "https://ledger.northgate.example/entries")),
    ("files.upload", 1, _connector("Upload a file", "https://files.bank.example/uploads")),
]
SCHEMAS: dict[str, dict[str, Any]] = {
    "payload.TicketReply.v2": {
        "type": "object",
        "required": ["ticketId", "channel"],
        "properties": {
            "ticketId": {"type": "string"},
            "channel": {"enum": ["mail", "portal", "sms"]},
            "text": {"type": "string"},
            "customer": {"type": "string"},
        },
    },
    "payload.Payment.v1": {
        "type": "object",
        "required": ["id", "amount", "currency"],
        "properties": {"id": {"type": "string"}, "amount": {"type": "number"}, "currency": {"type": "string"}},
    },
}
# Paths of the correlation key in the payload of each event type, with the payload schema.
EVENT_TYPES: dict[str, tuple[list[str], str]] = {
    "PAYMENT_DUE": (["id"], ""),
    "PAYMENT_SETTLED": (["id"], ""),
    "TICKET_CREATED": (["id"], ""),
    "TICKET_CUSTOMER_REPLIED": (["ticketId"], "payload.TicketReply.v2"),
    "REFUND_REQUESTED": (["id"], ""),
    "CARD_EXPIRES": (["id"], ""),
    "FILE_ACCEPTED": (["id"], ""),
}
