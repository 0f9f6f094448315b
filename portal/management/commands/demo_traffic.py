"""`manage.py demo_traffic [--count N] [--verify]`: events for the demo through the REST API, and their exact account."""

import random
import time
from collections import Counter
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from portal.demo.credentials import read_credentials
from portal.demo.traffic import Plan, plan_traffic, traffic_prefix
from workflows.management.scoped import SystemCommand
from workflows.models import Event, EventDelivery, Run


class Command(SystemCommand):
    help = "Send a believable stream of events through the API; with --verify, account for every one of them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=int, default=60, help="events to send (default 60)")
        parser.add_argument(
            "--verify", action="store_true", help="wait until all is settled and compare; exit 1 on a difference"
        )
        parser.add_argument("--seed", type=int, help="the same seed sends the same stories")
        parser.add_argument("--timeout", type=float, default=180, help="seconds that --verify waits (default 180)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["count"] < 1:
            raise CommandError("--count must be at least 1")
        credentials = read_credentials()
        if credentials is None:
            raise CommandError("there is no demo in this POINTSMAN_HOME; `make run` makes one")
        seed = random.randrange(2**31) if options["seed"] is None else options["seed"]  # noqa: S311
        prefix = traffic_prefix()
        plan = plan_traffic(options["count"], prefix=prefix, seed=seed)
        self.stdout.write(f"sending {len(plan.events)} events to {settings.PUBLIC_URL} (seed {seed})")
        self._send(plan, credentials.token)
        if not options["verify"]:
            self.stdout.write(f"sent {len(plan.events)}; their event ids begin with {prefix}")
            return
        found = self._settled(plan, prefix, options["timeout"])
        self._compare(plan, found)

    def _send(self, plan: Plan, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=settings.PUBLIC_URL, headers=headers, timeout=30, trust_env=False) as client:
            for event in plan.events:
                try:
                    answer = client.post("/api/v1/events", json=event)
                except httpx.HTTPError as error:
                    raise CommandError(f"the portal at {settings.PUBLIC_URL} does not answer: {error}") from error
                if answer.status_code != 202:
                    raise CommandError(f"{event['event_id']} was answered {answer.status_code}: {answer.text[:500]}")

    def _settled(self, plan: Plan, prefix: str, timeout: float) -> dict[str, int]:
        """The numbers as they are, once they are as expected or the time is over."""
        deadline = time.monotonic() + timeout
        while True:
            found = tally(prefix)
            if self._differences(plan, found) == [] or time.monotonic() > deadline:
                return found
            time.sleep(0.5)

    def _compare(self, plan: Plan, found: dict[str, int]) -> None:
        rows = [("sent", len(plan.events)), ("stored", len(plan.events)), ("not routed", 0), *plan.expected.items()]
        shown = {**found, "sent": len(plan.events)}
        self.stdout.write(f"{'':<14}{'expected':>10}{'found':>10}")
        for name, expected in rows:
            self.stdout.write(f"{_title(name):<14}{expected:>10}{shown.get(name, 0):>10}")
        differences = self._differences(plan, found)
        if differences:
            raise CommandError("it does not add up: " + ", ".join(differences))
        self.stdout.write("it adds up")

    def _differences(self, plan: Plan, found: dict[str, int]) -> list[str]:
        expected = {"stored": len(plan.events), "not routed": 0, **plan.expected}
        return [
            f"{name}: {number} expected, {found.get(name, 0)} found"
            for name, number in expected.items()
            if found.get(name, 0) != number
        ]


def tally(prefix: str) -> dict[str, int]:
    """What the portal holds of the events whose ids begin with the prefix, and of the runs that they started."""
    events = Event.objects.filter(event_id__startswith=f"{prefix}-", occupies_id=True)
    outcomes = Counter(events.values_list("outcome", flat=True))
    deliveries = Counter(EventDelivery.objects.filter(event__in=events).values_list("status", flat=True))
    runs = Counter(Run.objects.filter(event__in=events).values_list("status", flat=True))
    return {
        "stored": sum(outcomes.values()),
        "not routed": outcomes.get("received", 0) + outcomes.get("routing", 0),
        "started": deliveries.get("started", 0),
        "matched": deliveries.get("matched", 0),
        # The wrong one of two payments is filtered, late, or finds nobody waiting: it depends on which is routed first.
        "not taken": events.filter(event_type="INVOICE_PAID").exclude(deliveries__status="matched").count(),
        "uncorrelated": outcomes.get("uncorrelated", 0),
        **dict(runs.items()),
    }


def _title(name: str) -> str:
    return {"SUCCEEDED": "succeeded", "FAILED": "failed", "WAITING": "waiting"}.get(name, name)
