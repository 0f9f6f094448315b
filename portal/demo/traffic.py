"""Realistic events for the demo tenant. For each kind of result, the exact expected number is known."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

CUSTOMERS = ("Ines Castro", "Jonas Lind", "Mei Chen", "Amara Okafor", "Piotr Zielinski", "Lucia Romano")
SUBJECTS = (
    "Printer on floor 3",
    "VPN drops",
    "Password reset",
    "Invoice question",
    "Laptop does not start",
    "New badge",
)
STORIES_AT_A_TIME = 8
TEAMS = ("Service desk", "Finance", "Logistics", "Design")


@dataclass(frozen=True)
class Step:
    """One event and its expected result.

    The result is started, matched, not taken (because of a filter), or uncorrelated.
    """

    event_type: str
    payload: dict[str, Any]
    does: str


@dataclass
class Story:
    """Events of one business case, and the expected final status of its run.

    The status is SUCCEEDED, FAILED or WAITING.
    """

    steps: list[Step]
    ends: str | None


@dataclass
class Plan:
    """Events in the order of sending, and the expected numbers of results.

    The whole plan is made before the first event is sent.
    """

    events: list[dict[str, Any]] = field(default_factory=list)
    expected: dict[str, int] = field(default_factory=dict)


def plan_traffic(count: int, *, prefix: str, seed: int) -> Plan:
    """Return a plan of exactly `count` events. The events of several stories are mixed.

    The events of one story keep their order.
    """
    chance = random.Random(seed)  # noqa: S311  not for secrets
    stories: list[Story] = []
    remaining = count
    while remaining > 0:
        stories.append(_story(chance, f"{prefix}-{len(stories)}", remaining=remaining))
        remaining -= len(stories[-1].steps)
    names = ("started", "matched", "not taken", "uncorrelated", "SUCCEEDED", "FAILED", "WAITING")
    plan = Plan(expected=dict.fromkeys(names, 0))
    for story in stories:
        _expect(plan, story)
    for number, step in enumerate(_interleaved(chance, stories)):
        plan.events.append({"event_id": f"{prefix}-e{number}", "event_type": step.event_type, "payload": step.payload})
    return plan


def _interleaved(chance: random.Random, stories: list[Story]) -> Iterator[Step]:
    """Yield the steps of all stories. A few stories are mixed at a time. The steps of one story keep their order."""
    waiting = [list(story.steps) for story in stories]
    under_way: list[list[Step]] = []
    while waiting or under_way:
        while waiting and len(under_way) < STORIES_AT_A_TIME:
            under_way.append(waiting.pop(0))
        steps = chance.choice(under_way)
        yield steps.pop(0)
        if not steps:
            under_way.remove(steps)


def _expect(plan: Plan, story: Story) -> None:
    for step in story.steps:
        if step.does in plan.expected:
            plan.expected[step.does] += 1
    if story.ends:
        plan.expected[story.ends] += 1


def _story(chance: random.Random, key: str, *, remaining: int) -> Story:
    """Return a random story of at most `remaining` events."""
    makers = [maker for needed, weight, maker in _MAKERS if needed <= remaining for _ in range(weight)]
    return chance.choice(makers)(chance, key)


def _ticket(chance: random.Random, key: str) -> Story:
    return Story(
        [
            _ticket_created(chance, key),
            Step("TICKET_CUSTOMER_REPLIED", {"ticketId": key, "text": "It works again, thanks."}, "matched"),
        ],
        "SUCCEEDED",
    )


def _ticket_created(chance: random.Random, key: str) -> Step:
    payload = {
        "ticketId": key,
        "subject": chance.choice(SUBJECTS),
        "priority": chance.randint(1, 4),
        "customer": chance.choice(CUSTOMERS),
    }
    return Step("TICKET_CREATED", payload, "started")


def _open_ticket(chance: random.Random, key: str) -> Story:
    return Story([_ticket_created(chance, key)], "WAITING")


def _invoice(chance: random.Random, key: str) -> Story:
    amount = chance.randrange(50, 5000)
    return Story(
        [
            Step("INVOICE_OVERDUE", {"invoiceId": key, "amount": amount, "email": "accounts@example.org"}, "started"),
            Step("INVOICE_PAID", {"invoiceId": key, "amount": amount - 1}, "not taken"),
            Step("INVOICE_PAID", {"invoiceId": key, "amount": amount}, "matched"),
        ],
        "SUCCEEDED",
    )


def _onboarding(chance: random.Random, key: str) -> Story:
    return Story(
        [
            Step(
                "EMPLOYEE_HIRED",
                {"employeeId": key, "name": chance.choice(CUSTOMERS), "team": chance.choice(TEAMS)},
                "started",
            ),
            Step("ACCOUNT_CREATED", {"employeeId": key, "login": f"u-{key[-6:]}"}, "matched"),
            Step("LAPTOP_READY", {"employeeId": key, "status": "ready", "serial": f"SN-{key[-6:]}"}, "matched"),
        ],
        "SUCCEEDED",
    )


def _approval(chance: random.Random, key: str) -> Story:
    decision = chance.choice(("approved", "approved", "rejected"))
    return Story(
        [
            Step(
                "APPROVAL_REQUESTED",
                {"requestId": key, "amount": chance.randrange(100, 3000), "requestedBy": chance.choice(CUSTOMERS)},
                "started",
            ),
            Step("APPROVAL_DECIDED", {"requestId": key, "decision": decision}, "matched"),
        ],
        "SUCCEEDED",
    )


def _small_approval(chance: random.Random, key: str) -> Story:
    payload = {"requestId": key, "amount": chance.randrange(1, 99), "requestedBy": chance.choice(CUSTOMERS)}
    return Story([Step("APPROVAL_REQUESTED", payload, "started")], "SUCCEEDED")


def _webhook(chance: random.Random, key: str) -> Story:
    payload = {"deliveryId": key, "targetUrl": f"{settings.PUBLIC_URL}/healthz", "method": "GET"}
    return Story([Step("WEBHOOK_RECEIVED", payload, "started")], "SUCCEEDED")


def _forbidden_webhook(chance: random.Random, key: str) -> Story:
    payload = {"deliveryId": key, "targetUrl": "http://169.254.169.254/latest/meta-data", "method": "GET"}
    return Story([Step("WEBHOOK_RECEIVED", payload, "started")], "FAILED")


def _stray(chance: random.Random, key: str) -> Story:
    """Return a story with one event that has no correlation key."""
    return Story(
        [Step("TICKET_CUSTOMER_REPLIED", {"text": "Hello?", "customer": chance.choice(CUSTOMERS)}, "uncorrelated")],
        None,
    )


# each tuple: number of events, weight of the random choice, function
_MAKERS = (
    (2, 6, _ticket),
    (1, 2, _open_ticket),
    (3, 3, _invoice),
    (3, 3, _onboarding),
    (2, 3, _approval),
    (1, 2, _small_approval),
    (1, 1, _webhook),
    (1, 1, _forbidden_webhook),
    (1, 1, _stray),
)


def traffic_prefix() -> str:
    return f"demo-{uuid.uuid1().hex[:8]}"
