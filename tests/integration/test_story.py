"""The story of the screens has the numbers of the target pictures, so that pictures and pages can be compared."""

from typing import Any

from django.urls import reverse

from tests.support.members import member_of
from workflows.models import Definition, DefinitionVersion, EventDelivery, HumanTask, Incident, Run
from workflows.selectors.step_counts import map_numbers, open_runs
from workflows.services.runs.replay_rules import repeated_actions


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


def test_the_map_of_the_story_has_the_numbers_of_the_picture(story: Any) -> None:
    version = DefinitionVersion.objects.get(tenant=story.tenant, definition__key="payment-capture", version=2)
    numbers = map_numbers(version, since=story.at(25 * 60))
    assert (numbers.closed_count, numbers.ended["FAILED"]) == (45, 41)
    failed = {path: step.failed for path, step in numbers.steps.items() if step.failed}
    assert failed == {"root.steps[3]": 41}
    assert numbers.steps["root.steps[2]"].branches == {"then": 22, "else": 31}
    assert open_runs(version.definition).by_version == [(3, 4), (2, 8), (1, 25)]


def test_a_replay_of_the_story_repeats_the_reservations(story: Any) -> None:
    failed = Run.objects.filter(tenant=story.tenant, status="FAILED", version=2, replay_of__isnull=True)
    inputs = dict(failed.filter(definition_key="payment-capture").values_list("id", "input"))
    (repeated,) = repeated_actions(tenant_id=story.tenant.id, run_ids=list(inputs))
    large = sum(value["amount"] > 1000 for value in inputs.values())
    assert (repeated.action, repeated.runs, large > 10) == ("bank.reserve@1", large, True)


def test_the_map_names_the_incident_of_its_worst_step_once(story: Any) -> None:
    definition = Definition.objects.get(tenant=story.tenant, key="payment-capture")
    worst = Incident.objects.get(tenant=story.tenant, definition=definition, error_code="NOT_FOUND")
    page = reverse("admin:workflows_definition_change", args=[definition.id])
    incident = reverse("admin:workflows_incident_change", args=[worst.id])
    for tab in ("map", "versions"):
        shown = member_of(story.tenant).get(page, {"version": 2, "tab": tab}).content.decode()
        assert shown.count(f'href="{incident}"') == 1, tab
        assert f'?incident={worst.number}"><b>41 × ' in shown, tab
        assert "failed at one step" not in shown, "the box over the tabs says it"
