"""Page that sends the events of a file: preview, sending once, results, roles and limits."""

import json
import uuid
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from ingress.admin.event_batch import packed
from ingress.files.reading import MAX_FILE_BYTES
from tests.support.events import receive
from tests.support.members import member_of
from workflows.models import Command, Event, EventType, PayloadSchema

pytestmark = pytest.mark.usefixtures("no_dispatcher")
ADDRESS = "admin:workflows_event_batch"
LINES = [
    {"event_type": "E", "event_id": "a-1", "workflow_correlation_key": "K-1", "payload": {"n": 1}},
    {"event_type": "E", "payload": {"n": 2}},
    {"event_type": "E", "payload": "wrong"},
    {"event_type": "STRICT", "event_id": "s-1", "payload": {"n": "text"}},
    {"event_type": "REPLIED", "event_id": "old-1", "payload": {"ticketId": "T-1"}, "workflow_correlation_key": "T-1"},
    {"event_type": "REPLIED", "event_id": "old-2", "payload": {"other": True}},
    {"event_type": "E", "event_id": "a-1", "workflow_correlation_key": "K-1", "payload": {"n": 1}},
]


@pytest.fixture
def prepared(tenant: Any) -> Any:
    """Give the tenant two stored events and an event type with a schema."""
    for event_id in ("old-1", "old-2"):
        receive(tenant, event_id=event_id)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    PayloadSchema.objects.create(tenant=tenant, ref="payload.N.v1", schema=schema)
    EventType.objects.create(tenant=tenant, name="STRICT", payload_schema_ref="payload.N.v1")
    return tenant


def upload(client: Client, text: str, **fields: Any) -> Any:
    file = SimpleUploadedFile("events.jsonl", text.encode())
    return client.post(reverse(ADDRESS), {"file": file, "idempotency_key": str(uuid.uuid4()), **fields})


def text_of(lines: list[Any]) -> str:
    return "\n".join(map(json.dumps, lines))


def results(page: Any) -> list[tuple[int, str]]:
    return [(line.number, line.result) for line in page.context["lines"]]


def test_preview_sends_nothing_and_sending_stores_each_event_once(prepared: Any) -> None:
    client, before = member_of(prepared), Event.objects.filter(tenant=prepared).count()
    preview = upload(client, text_of(LINES))
    expected = [
        (1, "new"), (2, "new"), (3, "problem"), (4, "refused"), (5, "duplicate"), (6, "refused"), (7, "duplicate"),
    ]  # fmt: skip
    assert results(preview) == expected
    assert "payload must be a JSON object" in preview.content.decode()
    assert Event.objects.filter(tenant=prepared).count() == before
    assert not Command.objects.filter(tenant=prepared).exists()

    hidden = {**preview.context["hidden"], "do": "send"}
    sent = client.post(reverse(ADDRESS), hidden)
    assert results(sent) == expected
    assert sent.context["counts"] == {"new": 2, "duplicate": 2, "refused": 2, "problem": 1}
    first = Event.objects.get(tenant=prepared, event_id="a-1")
    assert reverse("admin:workflows_event_change", args=[first.id]) in sent.content.decode()
    stored = Event.objects.filter(tenant=prepared).count()

    again = client.post(reverse(ADDRESS), hidden)
    assert again.status_code == 200
    assert dict(results(again))[1] == "new"
    assert Event.objects.filter(tenant=prepared).count() == stored
    command = Command.objects.get(tenant=prepared)
    assert (command.action, command.state, command.details["new"]) == ("send_event", "observed", 2)
    assert command.payload["file"] == "events.jsonl"

    later = client.post(reverse(ADDRESS), {**hidden, "idempotency_key": str(uuid.uuid4())})
    assert [result for _, result in results(later)][:2] == ["duplicate", "duplicate"]
    assert Event.objects.filter(tenant=prepared, occupies_id=True, event_type="E").count() == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("[1, 2", "not valid JSON"),
        ("x" * (MAX_FILE_BYTES + 1), "bytes. At most"),
        ("\n".join(['{"event_type": "E", "payload": {}}'] * 10_001), "more than 10,000 events"),
    ],
)
def test_file_that_cannot_be_read_says_so_beside_the_form(tenant: Any, text: str, message: str) -> None:
    page = upload(member_of(tenant), text).content.decode()
    assert message in page
    assert 'type="file"' in page
    assert not Event.objects.filter(tenant=tenant).exists()


def test_form_without_a_file_and_changed_content_are_refused(tenant: Any) -> None:
    client = member_of(tenant)
    assert "Choose a file." in client.post(reverse(ADDRESS), {}).content.decode()
    for content in ("no base64!", "AAAA", packed(b"x" * (MAX_FILE_BYTES + 5))):
        page = client.post(reverse(ADDRESS), {"content": content, "do": "send"})
        assert page.status_code == 200
        assert "file" in page.context["form"].errors.as_text().lower()
    assert not Event.objects.filter(tenant=tenant).exists()


def test_other_file_with_the_same_key_is_refused(tenant: Any) -> None:
    client, key = member_of(tenant), str(uuid.uuid4())
    for number in (1, 2):
        content = packed(text_of([{"event_type": "E", "payload": {"n": number}}]).encode())
        page = client.post(reverse(ADDRESS), {"content": content, "do": "send", "idempotency_key": key})
    assert "already sent with other values" in page.content.decode()
    assert Event.objects.filter(tenant=tenant).count() == 1


def test_viewer_is_refused(tenant: Any) -> None:
    client = member_of(tenant, role="viewer")
    assert "You need the role operator" in client.get(reverse(ADDRESS)).content.decode()
    for fields in ({}, {"do": "send"}):
        assert upload(client, text_of(LINES[:1]), **fields).status_code == 403
    assert not Event.objects.filter(tenant=tenant).exists()


def test_hostile_values_are_text(tenant: Any) -> None:
    hostile = "<script>alert(1)</script>\u202e"
    line = {"event_type": hostile, "event_id": hostile, "workflow_correlation_key": hostile, "payload": {}}
    page = upload(member_of(tenant), text_of([line, {hostile: 1}])).content.decode()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") >= 4
