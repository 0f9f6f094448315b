"""Numbers of the last 24 hours equal plain counts of the rows, also after corrections, replays and deletions.

Source: docs/reference/screens.md#dashboard
"""

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.support.events import receive
from tests.support.factories import make_run, make_tenant
from workflows.models import Event, Run
from workflows.models.fields import new_id
from workflows.projections.transaction import projection_writer
from workflows.selectors import activity
from workflows.selectors.activity import activity_per_hour
from workflows.statuses import EventOutcome

pytestmark = pytest.mark.usefixtures("no_dispatcher")

ENDS = {
    "succeeded": ["SUCCEEDED"], "failed": ["FAILED", "TIMED_OUT"], "canceled": ["CANCELED", "TERMINATED"],
}  # fmt: skip
STATUSES = [status for statuses in ENDS.values() for status in statuses]
DELIVERED = ("delivered", "partly_delivered")


def a_time(chance: random.Random) -> datetime:
    """Return a time of the last 26 hours, often exactly at the begin of an hour."""
    at = timezone.now() - timedelta(seconds=chance.randrange(26 * 3600))
    return at.replace(minute=0, second=0, microsecond=0) if chance.random() < 0.3 else at


def plain_counts(tenant: Any, hours: list[datetime]) -> list[dict[str, int]]:
    counts = []
    for hour in hours:
        ended = Run.objects.filter(
            tenant=tenant, replay_of=None, ended_at__gte=hour, ended_at__lt=hour + timedelta(hours=1)
        )
        received = Event.objects.filter(tenant=tenant, received_at__gte=hour, received_at__lt=hour + timedelta(hours=1))
        counts.append({
            **{name: ended.filter(status__in=statuses).count() for name, statuses in ENDS.items()},
            "delivered": received.filter(outcome__in=DELIVERED).count(),
            "not_delivered": received.exclude(outcome__in=DELIVERED).count(),
        })  # fmt: skip
    return counts


@pytest.mark.parametrize("seed", range(3))
def test_numbers_equal_plain_counts_after_each_part_of_a_random_history(tenant: Any, seed: int) -> None:
    chance = random.Random(seed)
    first = make_run(tenant, status="SUCCEEDED", ended_at=a_time(chance))
    same = {"definition_version": first.definition_version}
    make_run(make_tenant(), status="FAILED", ended_at=timezone.now())

    def end_runs() -> None:
        for _ in range(8):
            replay_of = first if chance.random() < 0.2 else None
            make_run(tenant, status=chance.choice(STATUSES), ended_at=a_time(chance), replay_of=replay_of, **same)
        make_run(tenant, status="RUNNING", **same)

    def correct_runs() -> None:  # as the reconciler corrects an end
        for run in chance.sample(list(Run.objects.filter(tenant=tenant)), 4):
            changes = chance.choice([{"status": "RUNNING", "ended_at": None}, {"ended_at": a_time(chance)}])
            Run.objects.filter(id=run.id).update(**{"status": chance.choice(STATUSES), **changes})

    def delete_runs() -> None:  # as retention does
        for run in chance.sample(list(Run.objects.filter(tenant=tenant).exclude(id=first.id)), 3):
            Run.objects.filter(id=run.id).delete()

    def receive_events() -> None:
        for _ in range(5):
            event = receive(tenant, event_id=new_id().hex)
            changes = {"outcome": chance.choice(EventOutcome.values), "received_at": a_time(chance)}
            Event.objects.filter(id=event.id).update(**changes)

    later = [correct_runs, delete_runs, receive_events, end_runs, correct_runs]
    for change in [end_runs, receive_events, *chance.sample(later, len(later))]:
        with projection_writer("test"):
            change()
        found = activity_per_hour(tenant_id=tenant.id)
        shown = [{**runs.counts, **events.counts} for runs, events in zip(found.runs, found.events, strict=True)]
        assert shown == plain_counts(tenant, [hour.at for hour in found.runs])
    assert not found.is_limited


def test_an_hour_with_many_runs_says_that_it_is_limited(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MOST_PER_HOUR", 2)
    for _ in range(3):
        make_run(tenant, status="SUCCEEDED", ended_at=timezone.now())
    found = activity_per_hour(tenant_id=tenant.id)
    assert (found.is_limited, found.runs[-1].counts["succeeded"]) == (True, 2)
