"""Numbers stay exact in rows, responses, pages and mappings (docs/reference/language.md#numbers)."""

import json
from typing import Any

import pytest
from django.urls import reverse

from ingress.dispatch.targets import trigger_payload
from tests.support.api import Api
from tests.support.factories import expr, make_run, make_token, publish
from tests.support.members import member_of
from workflows.json_numbers import write_json
from workflows.models import Event, Run
from workflows.projections.transaction import projection_writer

pytestmark = pytest.mark.usefixtures("no_dispatcher")

ID, OTHER_ID = 8202522731445525542, 8202522731445525999
PAYLOAD = f'{{"id": {ID}, "price": 1.10, "tenth": 0.1, "rate": 0.12345678901234567890, "list": [1e1, {OTHER_ID}]}}'


def send(tenant: Any, payload: str = PAYLOAD, **more: Any) -> Event:
    body = json.dumps({"event_type": "PAID", "payload": 0, **more}).replace('"payload": 0', f'"payload": {payload}')
    response = Api(make_token(tenant)).post("/events", body)
    assert response.status_code == 202, response.content
    return Event.objects.get(id=response.json()["id"])


def test_event_is_stored_and_shown_with_the_digits_that_were_sent(tenant: Any) -> None:
    event = send(tenant)
    assert write_json(event.payload) == PAYLOAD
    shown = Api(make_token(tenant)).get(f"/events/{event.id}").content.decode()
    assert '"payload":' + PAYLOAD.replace(": ", ":").replace(", ", ",") in shown
    page = member_of(tenant).get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()
    for digits in (str(ID), "1.10", "0.1,", "0.12345678901234567890", "1e1,", str(OTHER_ID)):
        assert digits in page


def test_browsable_api_shows_all_digits(tenant: Any) -> None:
    event = send(tenant)
    client = member_of(tenant)
    page = client.get(f"/api/v1/events/{event.id}", headers={"Accept": "text/html"}).content.decode()
    assert (str(ID) in page, "1.10" in page) == (True, True)


def test_two_ids_beyond_the_doubles_are_two_keys(tenant: Any) -> None:
    keys = [send(tenant, f'{{"correlationKey": {number}}}').correlation_keys for number in (ID, OTHER_ID)]
    assert keys == [[str(ID)], [str(OTHER_ID)]]


def test_mapping_carries_whole_numbers_exactly(tenant: Any) -> None:
    event = send(tenant)
    mapping = {
        "id": expr("event.payload.id"),
        "text": expr("'Payment ' & event.payload.id"),
        "same": expr(f"event.payload.id = {ID}"),
        "other": expr(f"event.payload.id = {OTHER_ID}"),
        "price": expr("event.payload.price * 2"),
        "all": expr("event.payload"),
    }
    mapped = trigger_payload({"payloadMapping": mapping}, event)
    assert (mapped["id"], mapped["text"], mapped["same"], mapped["other"]) == (ID, f"Payment {ID}", True, False)
    assert (mapped["price"], mapped["all"]["list"]) == (2.2, [10, OTHER_ID])
    assert write_json(trigger_payload({}, event)) == PAYLOAD


def test_run_page_and_replay_form_show_all_digits(tenant: Any) -> None:
    run = make_run(tenant, input=json.loads(PAYLOAD))
    with projection_writer("test"):
        Run.objects.filter(id=run.id).update(input=send(tenant).payload)
    shown = Api(make_token(tenant)).get(f"/runs/{run.id}").content.decode()
    assert PAYLOAD.replace(": ", ":").replace(", ", ",") in shown
    client = member_of(tenant)
    for address in (
        reverse("admin:workflows_run_change", args=[run.id]) + "?tab=input",
        reverse("admin:workflows_run_replay", args=[run.id]),
    ):
        page = client.get(address).content.decode()
        assert (str(ID) in page, "1.10" in page) == (True, True)


def test_definition_keeps_the_digits_of_its_literals(tenant: Any) -> None:
    version = publish(tenant, {"id": "set", "type": "transform.assign", "config": {"assign": {"vars.id": ID}}})
    assert f'"vars.id": {ID}' in version.canonical_text
    assert version.document()["steps"][0]["config"]["assign"] == {"vars.id": ID}
