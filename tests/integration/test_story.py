"""The story of the screens has the numbers of the target pictures, so that pictures and pages can be compared."""

from typing import Any

from workflows.models import EventDelivery, HumanTask, Incident, Run


def test_the_story_has_the_numbers_of_the_pictures(story: Any) -> None:
    runs = Run.objects.filter(tenant=story.tenant, definition_key="payment-capture", replay_of__isnull=True)
    closed = runs.filter(ended_at__gt=story.at(24 * 60))
    assert [closed.filter(version=version).count() for version in (1, 2, 3)] == [105, 45, 2]
    assert runs.filter(version=2, status="FAILED").count() == 41
    assert [runs.filter(version=v, status__in=["RUNNING", "WAITING"]).count() for v in (1, 2, 3)] == [25, 8, 4]
    assert runs.get(correlation_key="PAY-105", version=2).step_count == 705
    assert HumanTask.objects.filter(tenant=story.tenant, due_at__lt=story.at(-60)).count() == 3
    assert EventDelivery.objects.filter(tenant=story.tenant, status="dead").count() == 2
    incidents = Incident.objects.filter(tenant=story.tenant).values_list("error_code", "run_count", "state")
    assert set(incidents) == {
        ("NOT_FOUND", 41, "new"),
        ("LEDGER_CLOSED", 3, "regressed"),
        ("MAILBOX_UNAVAILABLE", 5, "open"),
        ("TIMEOUT", 2, "snoozed"),
    }
    assert EventDelivery.objects.filter(tenant=story.tenant, held_since__isnull=False).count() == 12
