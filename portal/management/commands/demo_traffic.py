"""`manage.py demo_traffic [--count N] [--verify]`: send demo events through the REST API and count the results."""

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
    help = "Send realistic demo events through the API. With --verify, compare the results with the expected numbers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=int, default=60, help="number of events to send (default 60)")
        parser.add_argument(
            "--verify", action="store_true", help="wait for the results and compare them; exit 1 if they differ"
        )
        parser.add_argument("--seed", type=int, help="seed of the random events; the same seed sends the same events")
        parser.add_argument(
            "--timeout", type=float, default=180, help="longest wait of --verify in seconds (default 180)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["count"] < 1:
            raise CommandError("--count must be at least 1.")
        credentials = read_credentials()
        if credentials is None:
            raise CommandError("This POINTSMAN_HOME has no demo data. Run `make run` to create it.")
        seed = random.randrange(2**31) if options["seed"] is None else options["seed"]  # noqa: S311
        prefix = traffic_prefix()
        plan = plan_traffic(options["count"], prefix=prefix, seed=seed)
        self.stdout.write(f"Sending {len(plan.events)} events to {settings.PUBLIC_URL} (seed {seed}).")
        self._send(plan, credentials.token)
        if not options["verify"]:
            self.stdout.write(f"Sent {len(plan.events)} events. Their event ids begin with {prefix}.")
            return
        found = self._wait_for_results(plan, prefix, options["timeout"])
        self._compare(plan, found)

    def _send(self, plan: Plan, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=settings.PUBLIC_URL, headers=headers, timeout=30, trust_env=False) as client:
            for event in plan.events:
                try:
                    response = client.post("/api/v1/events", json=event)
                except httpx.HTTPError as error:
                    raise CommandError(
                        f"The portal at {settings.PUBLIC_URL} does not respond: {error}. Start it with `make run`."
                    ) from error
                if response.status_code != 202:
                    raise CommandError(
                        f"Event {event['event_id']} was refused with {response.status_code}: {response.text[:500]}"
                    )

    def _wait_for_results(self, plan: Plan, prefix: str, timeout: float) -> dict[str, int]:
        """Count the results until the numbers match the plan or the timeout (in seconds) has passed.

        Return the numbers.
        """
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
            raise CommandError("The results differ from the plan: " + ", ".join(differences))
        self.stdout.write("All results match the plan.")

    def _differences(self, plan: Plan, found: dict[str, int]) -> list[str]:
        expected = {"stored": len(plan.events), "not routed": 0, **plan.expected}
        return [
            f"{name}: expected {number}, found {found.get(name, 0)}"
            for name, number in expected.items()
            if found.get(name, 0) != number
        ]


def tally(prefix: str) -> dict[str, int]:
    """Count the events whose ids begin with the prefix, their deliveries, and the runs that these events started."""
    events = Event.objects.filter(event_id__startswith=f"{prefix}-", occupies_id=True)
    outcomes = Counter(events.values_list("outcome", flat=True))
    deliveries = Counter(EventDelivery.objects.filter(event__in=events).values_list("status", flat=True))
    runs = Counter(Run.objects.filter(event__in=events).values_list("status", flat=True))
    return {
        "stored": sum(outcomes.values()),
        "not routed": sum(outcomes.get(name, 0) for name in ("received", "routing", "held")),
        "started": deliveries.get("started", 0),
        "matched": deliveries.get("matched", 0),
        # An event for a wrong payment is filtered, is late, or finds no wait. The result depends on the order in which
        # the payments are routed.
        "not taken": events.filter(event_type="INVOICE_PAID").exclude(deliveries__status="matched").count(),
        "uncorrelated": outcomes.get("uncorrelated", 0),
        **dict(runs.items()),
    }


def _title(name: str) -> str:
    return {"SUCCEEDED": "succeeded", "FAILED": "failed", "WAITING": "waiting"}.get(name, name)
