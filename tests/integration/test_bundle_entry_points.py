"""Bundles through the API and the pages: body, limits, keys, preview, results, download.

Source: docs/reference/language.md#bundles
"""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from tests.support.api import Api, error_of
from tests.support.factories import make_definition, make_token, publish
from tests.support.members import member_of
from tests.support.native_bundles import native_bundle
from workflows.models import Command, Definition
from workflows.statuses import Role

STATE = {"id": "s", "type": "state.set", "config": {"state": "X"}}


def bundle(key: str = "flow", **envelope: Any) -> dict[str, Any]:
    draft = {"definition": make_definition(STATE, key=key, **envelope)}
    return {"format": "other", "formatVersion": 1, "workflows": [{"key": key, "draft": draft}]}


def without_time(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not line.startswith('  "exportedAt":'))


@pytest.fixture
def api(tenant: Any) -> Api:
    return Api(make_token(tenant, Role.AUTHOR))


def test_the_api_imports_and_exports_the_same_text(tenant: Any, api: Api) -> None:
    text = native_bundle(5)
    shown = api.post("/bundles/import?dry_run=true", text).json()
    assert (shown["dry_run"], shown["accepted"], shown["command_id"]) == (True, True, None)
    assert not Definition.objects.filter(tenant=tenant).exists()
    done = api.post("/bundles/import", text, **{"Idempotency-Key": "k1"}).json()
    assert done["workflows"] == shown["workflows"]
    again = api.post("/bundles/import", text, **{"Idempotency-Key": "k1"}).json()
    assert again == done
    assert error_of(api.post("/bundles/import", bundle(), **{"Idempotency-Key": "k1"}), 409)["code"] == (
        "IDEMPOTENCY_KEY_REUSED"
    )
    keys = ",".join(item["key"] for item in json.loads(text)["workflows"])
    response = api.get(f"/bundles/export?keys={keys}")
    assert without_time(response.content.decode()) == without_time(text)
    assert "bundle.json" in response["Content-Disposition"]
    command = Command.objects.get(tenant=tenant, action="import")
    assert (str(command.id), command.state) == (done["command_id"], "observed")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("", b"not json", 400, "BODY_INVALID"), ("", b'{"a": 1, "a": 2}', 400, "BODY_INVALID"),
        ("", {**bundle(), "formatVersion": 2}, 400, "BUNDLE_INVALID"), ("", [], 400, "BUNDLE_INVALID"),
        ("?dry_run=maybe", bundle(), 400, "VALIDATION_ERROR"), ("?unknown=1", bundle(), 400, "VALIDATION_ERROR"),
        ("?dry_run=true", {}, 400, "BUNDLE_INVALID"),
        ("", bundle(payloadSchemaRef="payload.New.v1"), 400, "BUNDLE_DEPENDENCIES_MISSING"),
        ("", b" " * 50_000_000, 413, "PAYLOAD_TOO_LARGE"),
    ],
    ids=["no json", "key twice", "version 2", "no object", "option", "parameter", "empty", "schema", "50 MB"],
)  # fmt: skip
def test_bad_input_is_refused_and_stores_nothing(
    tenant: Any, api: Api, path: str, body: Any, status: int, code: str
) -> None:
    assert error_of(api.post(f"/bundles/import{path}", body), status)["code"] == code
    assert not Definition.objects.filter(tenant=tenant).exists()


def test_a_bundle_may_be_larger_than_other_bodies(tenant: Any, api: Api, settings: Any) -> None:
    settings.REQUEST_MAX_BYTES = 1024
    text = json.dumps(bundle(description="x" * 4000))
    assert api.post("/bundles/import", text).status_code == 200
    settings.BUNDLE_MAX_BYTES = 2048
    assert error_of(api.post("/bundles/import", text), 413)["details"]["limit"] == 2048


def page(client: Any, **fields: Any) -> Any:
    return client.post(reverse("admin:workflows_definition_import"), fields)


def test_the_page_shows_a_preview_and_then_imports(tenant: Any) -> None:
    client = member_of(tenant, role="author")
    file = SimpleUploadedFile("b.json", json.dumps(bundle()).encode())
    preview = page(client, file=file, step="preview", idempotency_key="").content.decode()
    assert "Nothing is stored yet" in preview
    assert "&quot;formatVersion&quot;" in preview  # the text field has the text of the file
    assert not Definition.objects.filter(tenant=tenant).exists()
    key = "0192f0c4-7b1e-7c58-9d3a-6f5d3b1c2a12"
    responses = [
        page(client, text=json.dumps(bundle()), publish="on", step="import", idempotency_key=key) for _ in range(2)
    ]
    assert responses[0].url == responses[1].url
    shown = client.get(responses[0].url).content.decode()
    assert "Result of the import" in shown
    assert Definition.objects.get(tenant=tenant).published_version.version == 1
    assert Command.objects.filter(tenant=tenant, action="import").count() == 1
    assert client.get(reverse("admin:workflows_definition_import") + "?command=x").status_code == 404


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "Choose a file"), ({"text": "{"}, "not valid JSON"), ({"text": "[]"}, "must be a JSON object"),
        ({"text": json.dumps({**bundle(), "formatVersion": 2})}, "formatVersion"),
        ({"text": json.dumps(bundle(payloadSchemaRef="payload.New.v1"))}, "payload.New.v1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", ["preview", "import"])
def test_the_page_shows_errors_and_keeps_the_text(tenant: Any, fields: dict[str, str], message: str, step: str) -> None:
    shown = page(member_of(tenant, role="author"), **fields, force="on", step=step).content.decode()
    assert message in shown
    assert "checked" in shown
    assert not Definition.objects.filter(tenant=tenant).exists()


def test_the_list_exports_the_chosen_definitions(tenant: Any) -> None:
    chosen = publish(tenant, STATE, key="chosen").definition
    publish(tenant, STATE, key="other")
    client = member_of(tenant, role="viewer")
    response = client.post(
        reverse("admin:workflows_definition_changelist"),
        {"action": "export_bundle", "_selected_action": [str(chosen.id)]},
    )
    assert [item["key"] for item in json.loads(response.content)["workflows"]] == ["chosen"]
    for role, is_offered in (("viewer", False), ("author", True)):
        page_text = member_of(tenant, role=role).get(reverse("admin:workflows_definition_changelist")).content.decode()
        assert ("Import a bundle" in page_text) is is_offered
