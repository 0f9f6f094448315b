"""Near misses: events for an open wait, and waits for an event. The most alike key comes first."""

import re
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from ingress.dispatch.routing import event_route
from tests.support.events import open_wait, receive
from tests.support.factories import make_run
from tests.support.members import member_of
from tests.support.plans import copies, no_sorts, rows_read
from workflows.models import Event, EventDelivery, EventKey, Run, RunWait, Tenant
from workflows.redaction import compiled, rules_of
from workflows.selectors.near_misses import NearMiss, WaitNearMisses, wait_deliveries, wait_near_misses
from workflows.statuses import DeliveryStatus

# A dispatcher of another test would deliver the events to the waits.
pytestmark = pytest.mark.usefixtures("no_dispatcher")

FAX = {"pointer": "/channel", "message": 'must be one of "mail", "portal"'}


def keys_of(found: list[NearMiss]) -> list[str]:
    return ["".join(text for text, _ in near.key) for near in found]


def near_misses_of(wait: Any, rules: Any = None, *, sees_payloads: bool = True) -> WaitNearMisses:
    found = wait_near_misses(wait, wait_deliveries(wait), rules=rules or compiled(), sees_payloads=sees_payloads)
    assert found is not None
    return found


def test_events_that_almost_reached_a_wait_are_in_the_order_of_their_likeness(
    tenant: Any, django_assert_num_queries: Any
) -> None:
    wait = open_wait(tenant, key="TCK-4471")
    for key in ("tck-4471", "TCK-4417", *(f"OTHER-{number}" for number in range(60)), "TCK-4472", None):
        receive(tenant, workflow_correlation_key=key, payload={})
    receive(tenant, event_type="ANOTHER", workflow_correlation_key="OTHER-1")
    refused = receive(tenant, workflow_correlation_key="TCK-4471")
    EventDelivery.objects.create(
        tenant=tenant, event=refused, wait=wait, run=wait.run, kind="wait", correlation_key="TCK-4471",
        status=DeliveryStatus.FILTERED, reason="the filter channel equals mail does not match",
    )  # fmt: skip
    with django_assert_num_queries(2):
        near_misses = near_misses_of(wait)
    found = near_misses.rows
    assert keys_of(found) == ["TCK-4471", "tck-4471", "TCK-4417", "TCK-4472", ""]
    assert (near_misses.unlike, near_misses.cut_at) == (47, 50)  # two older near misses were found by their keys
    assert [near.why for near in found] == [
        "Same key, but the filter channel equals mail does not match",
        "Only upper and lower case differ",
        "Two digits are swapped",
        "One digit differs",
        "The event has no key",
    ]
    assert (found[0].status, found[2].key) == ("filtered", (("TCK-44", False), ("17", True)))
    assert near_misses_of(wait, sees_payloads=False).rows[0].why == "Same key"


def test_events_that_are_no_near_misses_are_only_counted(tenant: Any) -> None:
    wait = open_wait(tenant, key="TCK-4417")
    address = reverse("admin:workflows_run_change", args=[wait.run_id])
    page = member_of(tenant).get(address).content.decode()
    assert "No near miss was found." in page
    assert "No other event of this type was received in this time." in page
    open_wait(tenant, key="TCK-4418")
    for key in ("SMS-1", "TCK-9821", "TCK-4418", "TCK-4419", "TCK-4471"):
        receive(tenant, workflow_correlation_key=key)
    used = Event.objects.filter(tenant=tenant, correlation_key__in=["TCK-4419", "TCK-4471"])
    assert used.update(outcome="delivered") == 2
    found = near_misses_of(wait)
    assert (found.rows, found.used, found.of_other_runs, found.unlike, found.cut_at) == ([], 2, 1, 2, 0)
    page = member_of(tenant).get(address).content.decode()
    assert "SMS-1" not in page
    counts = "2 used by a run, 1 with the key of another run, 2 with another key"
    assert re.search(rf"Other\s+<a [^>]+>events of this type</a>:\s+{counts}\.", page)
    assert "No other event of this type" not in page


def test_counted_events_are_the_newest_of_the_type(tenant: Any) -> None:
    wait = open_wait(tenant, key="TCK-4417")
    for number in range(51):
        receive(tenant, workflow_correlation_key=f"OTHER-{number}")
    Event.objects.filter(tenant=tenant).exclude(correlation_key="OTHER-0").update(outcome="delivered")
    Event.objects.filter(tenant=tenant, correlation_key="OTHER-0").update(outcome="unmatched")
    page = member_of(tenant).get(reverse("admin:workflows_run_change", args=[wait.run_id])).content.decode()
    assert re.search(r"Among the 50 newest\s+<a [^>]+>events of this type</a>:\s+50 used by a run\.", page)


def test_rows_that_are_read_about_each_event_do_not_grow_with_the_tables(tenant: Any) -> None:
    wait, other = open_wait(tenant, key="TCK-4417"), open_wait(tenant, key="OTHER-0")
    event = receive(tenant, workflow_correlation_key="OTHER-0")
    delivery = EventDelivery.objects.create(
        tenant=tenant, event=event, wait=other, run=other.run, kind="wait", status=DeliveryStatus.MATCHED
    )
    copies(
        event, 3_000, event_id="'e-' || n", correlation_key="'OTHER-' || n", received_at="now() + n * interval '1 ms'"
    )
    copies(other, 3_000, step_path="'root.steps[' || n || ']'", correlation_key="'OTHER-' || n")
    copies(delivery, 3_000, event_id="gen_random_uuid()", wait_id="gen_random_uuid()")
    for table in (RunWait, EventDelivery, Run):
        with no_sorts():
            assert rows_read(tenant, lambda: near_misses_of(wait), table._meta.db_table) < 500, table
    assert (near_misses_of(wait).of_other_runs, near_misses_of(wait).used) == (50, 0)


def test_event_with_the_key_of_the_wait_says_why_it_has_no_delivery(tenant: Any) -> None:
    early = receive(tenant)
    event_route(early.id)
    wait = open_wait(tenant, key="T-1")
    late = receive(tenant)
    found = {near.event_id: near.why for near in near_misses_of(wait).rows}
    assert found == {
        early.id: "Same key, but the buffer time of the event had ended before the wait opened",
        late.id: "Same key, but the event is not routed yet",
    }


def test_rejected_events_and_other_types_with_the_key_are_near_misses(tenant: Any) -> None:
    wait = open_wait(tenant, key="TCK-4471")
    types = {"REPLID": "TCK-4471", "PAYMENT_SETTLED": "TCK-4471", "PAYMENT": "TCK-4417"}
    ids = {name: receive(tenant, event_type=name, workflow_correlation_key=key).id for name, key in types.items()}
    for number, (key, code) in enumerate((("TCK-4471", "payload_rejected"), ("TCK-4472", "id_conflict"))):
        event = receive(tenant, event_id=f"rejected-{number}", workflow_correlation_key=key)
        Event.objects.filter(id=event.id).update(outcome="rejected", outcome_code=code, occupies_id=False)
        EventKey.objects.filter(event=event).delete()
        ids[code] = event.id
    found = {near.event_id: near.why for near in near_misses_of(wait).rows}
    assert list(found.items()) == [
        (ids["payload_rejected"], "Same key, but the event was rejected because of its payload"),
        (ids["REPLID"], "Same key, but the type is REPLID. One character is missing"),
        (ids["id_conflict"], "One digit differs, and the event was rejected because its id belongs to another event"),
        (ids["PAYMENT_SETTLED"], "Same key, but the type is PAYMENT_SETTLED"),
    ]
    hidden = compiled(("workflow_correlation_key",))
    assert not {ids["REPLID"], ids["PAYMENT_SETTLED"]} & {near.event_id for near in near_misses_of(wait, hidden).rows}


@pytest.mark.parametrize(
    ("check", "text", "without_payloads"),
    [
        ({"problems": [FAX, FAX]}, '/channel: must be one of "mail", "portal"', "/channel"),
        ({"code": "SCHEMA_UNKNOWN", "conflict": "the sender named X"}, "the sender named X", "the sender named X"),
    ],
)
def test_rejected_event_names_the_fault_of_its_payload(
    tenant: Any, check: dict[str, Any], text: str, without_payloads: str
) -> None:
    wait, event = open_wait(tenant), receive(tenant)
    Event.objects.filter(id=event.id).update(
        outcome="rejected", outcome_code="payload_rejected", decision_trace={"schema": check}
    )
    start = "Same key, but the event was rejected because of its payload"
    for sees_payloads, fault in ((True, text), (False, without_payloads)):
        (near,) = near_misses_of(wait, sees_payloads=sees_payloads).rows
        assert near.why == f"{start} ({fault})"


def test_event_with_the_key_of_another_run_is_no_near_miss(tenant: Any) -> None:
    wait, other = open_wait(tenant, key="TCK-4474"), open_wait(tenant, key="TCK-4473")
    event = receive(tenant, workflow_correlation_key="TCK-4473")
    Event.objects.filter(id=event.id).update(outcome="rejected", outcome_code="payload_rejected")
    assert near_misses_of(wait).rows == []
    assert [near.event_id for near in near_misses_of(other).rows] == [event.id]


def test_event_with_the_key_of_another_open_run_comes_last(tenant: Any) -> None:
    wait = open_wait(tenant, key="TCK-4471")
    make_run(tenant, correlation_key="TCK-4472")
    make_run(tenant, correlation_key="TCK-4473", status="SUCCEEDED", ended_at=timezone.now())
    for key in ("TCK-4472", "TCK-4473", None):
        receive(tenant, workflow_correlation_key=key, payload={})
    found = near_misses_of(wait).rows
    assert list(zip(keys_of(found), [near.why for near in found], strict=True)) == [
        ("TCK-4473", "One digit differs"),
        ("", "The event has no key"),
        ("TCK-4472", "One digit differs, but another open run has exactly this key"),
    ]


def test_unmatched_event_without_a_key_is_found_by_its_misspelled_type(tenant: Any) -> None:
    wait = open_wait(tenant, key="TCK-4471")
    ids = {
        name: receive(tenant, event_type=name, workflow_correlation_key=None, payload={}).id
        for name in ("REPLID", "PAYMENT")
    }
    receive(tenant, event_type="REPLYED", workflow_correlation_key="TCK-9999")
    Event.objects.filter(tenant=tenant).update(outcome="unmatched")
    near_misses = near_misses_of(wait)
    assert [(near.event_id, near.key, near.why) for near in near_misses.rows] == [
        (ids["REPLID"], (), "The event has no key, and the type is REPLID. One character is missing"),
    ]
    assert near_misses.others_text == ""


def test_hidden_key_is_not_compared(tenant: Any) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["*iban*", "workflow_correlation_key"])
    wait = open_wait(tenant, key="AT-4471")
    receive(tenant, workflow_correlation_key="at-4471")
    (near,) = near_misses_of(wait, rules_of(tenant.id)).rows
    assert (near.key, near.why) == ((("[redacted]", False),), "The key is hidden")


@pytest.mark.parametrize(("key", "wanted"), [("T-1", "T-l"), (" tck-7", "TCK-7"), ("TCK-4417", "TCK-4471")])
def test_alike_wait_is_found_among_many_newer_waits(tenant: Any, key: str, wanted: str) -> None:
    alike = open_wait(tenant, key=wanted)
    for number in range(6):
        open_wait(tenant, key=f"OTHER-{number}", run=alike.run, iteration=str(number))
    event = receive(tenant, workflow_correlation_key=key)
    event_route(event.id)
    stored = Event.objects.get(id=event.id).decision_trace["nearMisses"]
    assert stored[0]["waitId"] == str(alike.id)
