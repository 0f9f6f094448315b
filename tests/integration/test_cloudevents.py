"""CloudEvents over HTTP in three modes, and batches with one result per event."""

import json
from typing import Any

import pytest
from django.test import Client

from tests.support.api import Api, error_of
from tests.support.factories import make_token
from workflows.models import Event
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")

EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/crm",
    "type": "REPLIED",
    "data": {"ticketId": "T-1"},
    "correlationkey": "T-1",
}
STRUCTURED, BATCH = "application/cloudevents+json; charset=UTF-8", "application/cloudevents-batch+json"
BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/crm", "ce-type": "REPLIED", "ce-correlationkey": "T-1"}


@pytest.fixture
def client(tenant: Any) -> Client:
    return Client(headers={"Authorization": f"Bearer {make_token(tenant)}"}, raise_request_exception=False)


def send(client: Client, body: Any, content_type: str, **headers: str) -> Any:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post("/api/v1/events", text, content_type=content_type, headers=headers)


def test_all_modes_store_the_same_event(client: Client, tenant: Any) -> None:
    first = send(client, {**EVENT, "traceparent": "00-a", "subject": "Grüße"}, STRUCTURED)
    assert (first.status_code, first.json()["event_id"], first.json()["correlation_key"]) == (202, "/crm#1", "T-1")
    binary = send(client, EVENT["data"], "application/json", **BINARY, **{"ce-traceparent": "00-b"})
    vendor = send(client, EVENT["data"], "application/vnd.crm+json", **BINARY)
    batch = send(client, [EVENT, EVENT], BATCH)
    assert [binary.status_code, vendor.status_code, batch.status_code] == [200, 200, 207]
    assert [result["status"] for result in batch.json()["results"]] == [200, 200]
    stored = Event.objects.get(tenant=tenant)
    assert (stored.event_type, stored.payload, stored.source) == ("REPLIED", {"ticketId": "T-1"}, "rest")
    assert stored.attributes == {"id": "1", "source": "/crm", "traceparent": "00-a", "subject": "Grüße"}


def test_attributes_are_shown_to_readers_who_may_see_payloads(client: Client, tenant: Any) -> None:
    send(client, {**EVENT, "subject": "about"}, STRUCTURED)
    viewer = Api(make_token(tenant, Role.VIEWER))
    assert (
        client.get("/api/v1/events/" + str(Event.objects.get(tenant=tenant).id)).json()["attributes"]["subject"]
        == "about"
    )
    assert "attributes" not in viewer.get("/events").json()["results"][0]


def test_another_body_with_the_same_source_and_id_is_a_conflict(client: Client) -> None:
    send(client, EVENT, STRUCTURED)
    assert error_of(send(client, {**EVENT, "data": {}}, STRUCTURED), 409)["code"] == "EVENT_ID_CONFLICT"
    assert send(client, {**EVENT, "source": "/shop", "data": {}}, STRUCTURED).status_code == 202


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "path"),
    [
        ({**EVENT, "specversion": "0.3"}, STRUCTURED, {}, "specversion"),
        ([EVENT], STRUCTURED, {}, ""),
        ({**EVENT, "data": "x"}, STRUCTURED, {}, "data"),
        ("hello", "text/plain", BINARY, "datacontenttype"),
        ([1], "application/json", BINARY, "data"),
        ({}, "application/json", {**BINARY, "ce-specversion": "2.0"}, "specversion"),
        ({}, "application/json", {"ce-type": "E"}, "specversion"),
        ({}, "application/json", {**BINARY, "ce-subject": "%FF"}, "subject"),
    ],
)
def test_invalid_cloud_event_is_refused_and_not_stored(
    client: Client, tenant: Any, body: Any, content_type: str, headers: dict[str, str], path: str
) -> None:
    error = error_of(send(client, body, content_type, **headers), 400)
    assert (error["code"], error["details"]["problems"][0]["path"]) == ("EVENT_INVALID", path)
    assert not Event.objects.filter(tenant=tenant).exists()


@pytest.mark.parametrize("content_type", [STRUCTURED, BATCH])
def test_body_that_is_not_json_is_refused(client: Client, content_type: str) -> None:
    assert error_of(send(client, "{", content_type), 400)["code"] == "BODY_INVALID"


def test_unsupported_formats_are_refused(client: Client) -> None:
    response = send(client, "x", "application/cloudevents+avro", **BINARY)
    assert error_of(response, 415)["code"] == "MEDIA_TYPE_UNSUPPORTED"
    assert error_of(send(client, "x", "text/plain"), 415)["code"] == "MEDIA_TYPE_UNSUPPORTED"


def test_batch_returns_each_error_in_its_place(client: Client, tenant: Any) -> None:
    events = [EVENT, {**EVENT, "id": "2", "data": 7}, 5, {**EVENT, "id": "3"}, EVENT, {**EVENT, "data": {"other": 1}}]
    response = send(client, events, BATCH)
    results = response.json()["results"]
    assert (response.status_code, [result["status"] for result in results]) == (207, [202, 400, 400, 202, 200, 409])
    assert results[1]["error"]["details"]["problems"][0]["path"] == "data"
    assert Event.objects.filter(tenant=tenant, occupies_id=True).count() == 2
    assert send(client, [], BATCH).json() == {"results": []}
    assert error_of(send(client, {"a": 1}, BATCH), 400)["code"] == "EVENT_INVALID"


def test_plain_batch_is_stored_with_one_call(client: Client, tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingress.api import views

    calls: list[int] = []
    receive = views.events_receive
    monkeypatch.setattr(views, "events_receive", lambda **given: calls.append(len(given["values"])) or receive(**given))
    events = [{"event_type": "REPLIED", "event_id": str(n), "payload": {"text": "x" * 2000}} for n in range(1000)]
    response = send(client, {"events": events}, "application/json")  # 2 MB: more than the limit of a single event
    assert (response.status_code, calls) == (207, [1000])
    assert {result["status"] for result in response.json()["results"]} == {202}
    assert [result["event_id"] for result in response.json()["results"]] == [str(n) for n in range(1000)]
    assert Event.objects.filter(tenant=tenant).count() == 1000


@pytest.mark.parametrize("body", [{"events": [{}] * 1001}, [EVENT] * 1001], ids=["plain", "cloudevents"])
def test_number_of_events_per_batch_is_limited(client: Client, body: Any) -> None:
    content_type = "application/json" if isinstance(body, dict) else BATCH
    assert error_of(send(client, body, content_type), 400)["code"] == "EVENT_BATCH_TOO_LARGE"


def test_size_of_a_single_event_is_limited(client: Client, tenant: Any, settings: Any) -> None:
    large = {"text": "x" * 1_100_000}
    plain, cloud = {"event_type": "E", "payload": large}, {**EVENT, "data": large}
    for body, content_type, headers in (
        (plain, "application/json", {}),
        (cloud, STRUCTURED, {}),
        (large, "application/json", BINARY),
    ):
        error = error_of(send(client, body, content_type, **headers), 413)
        assert (error["code"], error["details"]["limit"]) == ("PAYLOAD_TOO_LARGE", settings.REQUEST_MAX_BYTES)
    results = send(client, [cloud, EVENT], BATCH).json()["results"]
    assert [result["status"] for result in results] == [400, 202]
    settings.EVENT_BATCH_MAX_BYTES = 1_200_000
    error = error_of(send(client, {"events": [plain, plain]}, "application/json"), 413)
    assert error["details"]["limit"] == 1_200_000


def test_viewer_cannot_send_events(tenant: Any) -> None:
    client = Client(headers={"Authorization": f"Bearer {make_token(tenant, Role.VIEWER)}"})
    for body, content_type, headers in (
        (EVENT, STRUCTURED, {}),
        ([EVENT], BATCH, {}),
        ({}, "application/json", BINARY),
    ):
        assert error_of(send(client, body, content_type, **headers), 403)["code"] == "PERMISSION_DENIED"
