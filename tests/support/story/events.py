"""Chapter "events": near misses, a late event, a rejected event, dead letters and held starts."""

from datetime import datetime, timedelta
from typing import Any

from ingress.dispatch.routing import event_route
from ingress.intake.receive import event_receive
from tests.support.story.people import Desk
from workflows.actors import Actor
from workflows.errors import PortalError
from workflows.event_decisions import paused_text
from workflows.event_outcomes import deliveries_changing, set_outcome
from workflows.models import ApiToken, Definition, Event, EventDelivery, Run
from workflows.services.tokens import token_issue
from workflows.statuses import CommandSource, DeliveryStatus, EventSource, Role


def tell_events(desk: Desk, runs: dict[str, Run]) -> None:
    """Tell the events that no run used, and some that a run used."""
    sender = _mail_gateway(desk)
    _reply(desk, sender, "mail-8790", "tck-4471", "mail", 66)
    _reply(desk, sender, "mail-8809", "TCK-4466", "mail", 58, wait_of=runs["TCK-4466"])
    _reply(desk, sender, "sms-2204", "TCK-4471", "sms", 54)
    _reply(desk, sender, "mail-8831", "TCK-4417", "mail", 36)
    _rejected(desk, sender)
    _settled_twice(desk, sender, runs)
    _held_cards(desk, sender)


def _mail_gateway(desk: Desk) -> Actor:
    token: ApiToken = token_issue(tenant_id=desk.tenant.id, name="Mail gateway", role=Role.OPERATOR)[0]
    return Actor("token", str(token.id), token.name, desk.tenant.id, Role.OPERATOR, CommandSource.API)


def _received(desk: Desk, sender: Actor, minutes: float, value: dict[str, Any]) -> Event:
    """Store and route an event as if it had arrived this number of minutes ago."""
    received_at = desk.at(minutes)
    stored = event_receive(tenant_id=desk.tenant.id, value=value, source=EventSource.REST, sender=sender).event
    event_route(stored.id)
    event = Event.objects.get(id=stored.id)
    event.received_at = event.route_at = received_at
    event.routed_at = received_at + timedelta(milliseconds=201)
    if event.buffered_until:
        event.buffered_until = received_at + timedelta(seconds=60)
    event.save()
    event.keys.update(received_at=received_at)
    EventDelivery.objects.filter(event=event).update(created_at=received_at)
    return event


def _decide(event: Event, status: DeliveryStatus, at: datetime, **fields: Any) -> None:
    """Write the same outcome to all deliveries of an event."""
    log = fields.pop("attempt_log", [])
    EventDelivery.objects.filter(event=event).update(
        status=status, decided_at=at, attempt_log=log, attempts=fields.pop("attempts", 1), **fields
    )
    set_outcome(event, [status] * EventDelivery.objects.filter(event=event).count())
    event.save()


def _reply(
    desk: Desk, sender: Actor, event_id: str, key: str, channel: str, minutes: float, *, wait_of: Run | None = None
) -> None:
    payload = {"ticketId": key, "channel": channel, "text": "Still no refund, please call.", "customer": "Ada Okafor"}
    value = {"event_id": event_id, "event_type": "TICKET_CUSTOMER_REPLIED", "payload": payload}
    event = _received(desk, sender, minutes, value)
    if wait_of is not None:
        wait = wait_of.waits.get()
        EventDelivery.objects.create(
            tenant=desk.tenant, event=event, kind="wait", wait=wait, run=wait_of, correlation_key=key,
            created_at=event.received_at,
        )  # fmt: skip
        _decide(event, DeliveryStatus.MATCHED, event.received_at + timedelta(seconds=1))
    elif channel == "sms":
        mismatch = {"code": "FILTER_MISMATCH", "path": "channel", "op": "in", "value": ["mail", "portal"]}
        _decide(event, DeliveryStatus.FILTERED, event.received_at + timedelta(seconds=1), mismatch=mismatch)
    else:
        set_outcome(event, [])
        event.save()


def _rejected(desk: Desk, sender: Actor) -> None:
    value = {
        "event_id": "mail-8840",
        "event_type": "TICKET_CUSTOMER_REPLIED",
        "payload": {"ticketId": "TCK-4480", "channel": "fax"},
    }
    try:
        event_receive(tenant_id=desk.tenant.id, value=value, source=EventSource.REST, sender=sender)
    except PortalError:
        Event.objects.filter(tenant=desk.tenant, event_id="mail-8840").update(received_at=desk.at(22))


def _settled_twice(desk: Desk, sender: Actor, runs: dict[str, Run]) -> None:
    """Tell two dead letters: the signals could not be sent while Temporal was unreachable."""
    for key, minutes in (("PAY-091", 29), ("PAY-090", 41)):
        payload = {"id": key, "amount": runs[key].input["amount"]}
        value = {"event_id": f"settled-{key}", "event_type": "PAYMENT_SETTLED", "payload": payload}
        event = _received(desk, sender, minutes, value)
        error = "UNAVAILABLE: Temporal was unreachable"
        log = [
            {"at": (event.received_at + timedelta(seconds=2**n)).isoformat(), "outcome": "failed", "error": error}
            for n in range(8)
        ]
        at = event.received_at + timedelta(seconds=128)
        _decide(event, DeliveryStatus.DEAD, at, attempts=8, failures=8, attempt_log=log, reason=error)


def _held_cards(desk: Desk, sender: Actor) -> None:
    definition = Definition.objects.get(tenant=desk.tenant, key="card-renewal")
    for number in range(12):
        minutes = 297 - number * 24
        value = {"event_id": f"card-{number}", "event_type": "CARD_EXPIRES", "payload": {"id": f"CRD-{60 + number}"}}
        event = _received(desk, sender, minutes, value)
        EventDelivery.objects.filter(event=event, definition=definition).update(
            held_since=event.received_at, reason=paused_text("card-renewal", "issuer test window"),
            next_attempt_at=desk.now + timedelta(days=1), attempts=1,
        )  # fmt: skip
    with deliveries_changing(Event.objects.filter(tenant=desk.tenant, event_type="CARD_EXPIRES")):
        pass  # `deliveries_changing` writes the outcomes at its end
