"""Life cycle of definitions through the API: create, edit, publish, roll back, archive, delete.

Source: docs/reference/administration.md#definition-life-cycle
"""

from typing import Any

import pytest

from ingress.dispatch.routing import event_route
from ingress.dispatch.work import events_work
from tests.support.api import Api, error_of
from tests.support.events import receive
from tests.support.factories import eventually, expr, make_definition, make_run, make_token, publish
from tests.support.triggers import STATE, TRIGGER
from workflows.engine.definition import canonical_text
from workflows.models import Command, Definition, DefinitionVersion, EventDelivery, Run
from workflows.projections.transaction import projection_writer
from workflows.services.definitions.examples import examples
from workflows.services.definitions.problems import definition_problems
from workflows.statuses import Role

# A dispatcher of another test would route the events of these tests.
pytestmark = pytest.mark.usefixtures("no_dispatcher")


def changed(state: str) -> dict[str, Any]:
    return make_definition({**STATE, "config": {"state": state}}, trigger=TRIGGER)


@pytest.fixture
def api(tenant: Any) -> Api:
    return Api(make_token(tenant, Role.AUTHOR))


def draft_of(api: Api, key: str = "flow") -> dict[str, Any]:
    draft: dict[str, Any] = api.get(f"/definitions/{key}/draft").json()
    return draft


@pytest.mark.parametrize(
    ("method", "address", "body"),
    [
        ("post", "", {"key": "new", "documnet": {}}),
        ("patch", "/flow", {"owner": "A", "concurency_limit": 1}),
        ("put", "/flow/draft", {"draft_version": 1, "document": changed("Y"), "force": True}),
        ("post", "/flow/publish", {"notes": "n"}),
        ("post", "/flow/pause", {"reason": "r", "held_starts": "skip"}),
        ("post", "/flow/validate", {"documnet": {}}),
    ],
)
def test_unknown_field_is_refused_and_nothing_is_stored(
    tenant: Any, api: Api, method: str, address: str, body: Any
) -> None:
    publish(tenant, STATE)
    before = api.get("/definitions").json()["results"]
    error = error_of(getattr(api, method)(f"/definitions{address}", body), 400)
    (unknown,) = set(body) & set(error["details"]["fields"])
    assert error["details"]["fields"][unknown][0].startswith("This field is unknown. Remove it, or use one of ")
    assert api.get("/definitions").json()["results"] == before


# -- Create ------------------------------------------------------------------------------------------------------------


def test_blank_definition_is_created_once_and_edited_and_published(tenant: Any, api: Api) -> None:
    for _ in range(2):
        made = api.post("/definitions", {"key": "flow", "name": "My flow"}, **{"Idempotency-Key": "k"})
        assert (made.status_code, made.json()["state"], made.json()["draft_version"]) == (201, "draft", 1)
    assert error_of(api.post("/definitions", {"key": "flow"}), 409)["code"] == "DEFINITION_EXISTS"
    draft = draft_of(api)
    assert (draft["document"]["id"], draft["document"]["name"], draft["document"]["steps"]) == ("flow", "My flow", [])
    saved = api.put("/definitions/flow/draft", {"draft_version": 1, "document": changed("X")}).json()
    assert (saved["draft_version"], saved["valid"], saved["problems"]) == (2, True, [])
    published = api.post("/definitions/flow/publish", {"note": "the first", "draft_version": 2}).json()
    assert (published["published_version"], published["state"], published["name"]) == (1, "published", "Flow")
    (version,) = api.get("/definitions/flow/versions").json()["results"]
    assert (version["note"], len(version["definition_hash"])) == ("the first", 64)
    event_route(receive(tenant, workflow_correlation_key=None).id)
    assert EventDelivery.objects.get(tenant=tenant).definition_version.version == 1


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_examples_have_no_problem_and_are_a_first_draft(tenant: Any, api: Api, example: Any) -> None:
    assert definition_problems(example.document, tenant_id=tenant.id) == []
    assert example.name in [row["name"] for row in api.get("/definition-examples").json()]
    assert api.post("/definitions", {"key": "mine", "example": example.name}).status_code == 201
    document = draft_of(api, "mine")["document"]
    assert document == {**example.document, "id": "mine"}
    assert api.post("/definitions/mine/publish", {}).json()["published_version"] == 1


def test_copy_takes_over_document_and_settings_but_not_the_pause(tenant: Any, api: Api) -> None:
    publish(tenant, STATE)
    publish(tenant, {**STATE, "config": {"state": "Y"}})
    api.patch("/definitions/flow", {"owner": "team", "concurrency_limit": 4})
    api.post("/definitions/flow/pause", {"reason": "x"})
    Definition.objects.filter(tenant=tenant).update(scenarios=[{"name": "one"}], search_paths=[{"path": "a"}])
    for key, version, state in (("of-draft", None, "Y"), ("of-first", 1, "X")):
        made = api.post("/definitions", {"key": key, "copy_of": "flow", "copy_version": version}).json()
        assert (made["owner"], made["concurrency_limit"], made["state"]) == ("team", 4, "draft")
        row = Definition.objects.get(tenant=tenant, key=key)
        assert (row.scenarios, row.search_paths) == ([{"name": "one"}], [{"path": "a"}])
        document = draft_of(api, key)["document"]
        assert (document["id"], document["name"], document["steps"][0]["config"]) == (
            key,
            "Flow (copy)",
            {"state": state},
        )


def test_one_workflow_of_a_bundle_is_a_first_draft(tenant: Any, api: Api) -> None:
    drafts = {key: {"definition": make_definition(STATE, key=key)} for key in ("one", "two")}
    metadata = {"name": "Flow", "concurrencyLimit": 2}
    workflows = [{"key": key, "metadata": metadata, "draft": draft} for key, draft in drafts.items()]
    bundle = {"format": "foreign", "formatVersion": 1, "workflows": workflows}
    refusal = error_of(api.post("/definitions", {"key": "mine", "bundle": bundle}), 400)
    assert (refusal["code"], refusal["details"]["keys"]) == ("DEFINITION_ORIGIN_INVALID", ["one", "two"])
    made = api.post("/definitions", {"key": "mine", "bundle": bundle, "bundle_key": "two"}).json()
    assert (made["key"], made["name"], made["concurrency_limit"]) == ("mine", "Two", 2)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "VALIDATION_ERROR"),
        ({"key": "Bad Key"}, 400, "KEY_INVALID"),
        ({"key": "x", "example": "none"}, 404, "EXAMPLE_NOT_FOUND"),
        ({"key": "x", "copy_of": "none"}, 404, "DEFINITION_NOT_FOUND"),
        ({"key": "x", "copy_of": "flow", "copy_version": 9}, 404, "DEFINITION_VERSION_NOT_FOUND"),
        ({"key": "x", "copy_of": "flow", "example": "wait-for-reply"}, 400, "DEFINITION_ORIGIN_INVALID"),
        ({"key": "x", "document": [1]}, 400, "VALUE_NOT_STORABLE"),
        ({"key": "x", "document": {"name": "\x00"}}, 400, "VALUE_NOT_STORABLE"),
        ({"key": "x", "bundle": {"format": 1}}, 400, "BUNDLE_INVALID"),
    ],
)
def test_refused_creation_stores_nothing(tenant: Any, api: Api, body: Any, status: int, code: str) -> None:
    publish(tenant, STATE)
    assert error_of(api.post("/definitions", body), status)["code"] == code
    assert list(Definition.objects.filter(tenant=tenant).values_list("key", flat=True)) == ["flow"]


# -- Edit --------------------------------------------------------------------------------------------------------------


def test_stale_save_is_refused_with_both_documents(tenant: Any, api: Api) -> None:
    api.post("/definitions", {"key": "flow", "document": changed("X")})
    assert api.put("/definitions/flow/draft", {"draft_version": 1, "document": changed("A")}).status_code == 200
    refusal = error_of(api.put("/definitions/flow/draft", {"draft_version": 1, "document": changed("B")}), 409)
    assert refusal["code"] == "DRAFT_STALE"
    details = refusal["details"]
    assert (details["current"]["draft_version"], details["yours"]) == (2, changed("B"))
    assert details["current"]["document"]["steps"][0]["config"] == {"state": "A"}
    assert draft_of(api)["document"] == changed("A")
    row = Command.objects.get(tenant=tenant, state="refused")
    assert (row.action, row.code, set(row.details)) == (
        "edit_definition",
        "DRAFT_STALE",
        {"draftVersion", "yourDraftVersion"},
    )
    assert error_of(api.post("/definitions/flow/publish", {"draft_version": 1}), 409)["code"] == "DRAFT_STALE"


def test_draft_with_problems_is_saved_and_cannot_be_published(tenant: Any, api: Api) -> None:
    api.post("/definitions", {"key": "flow"})
    bad = {"id": "a", "type": "transform.assign", "config": {"assign": {"vars.x": expr("len(")}}}
    document = make_definition(bad, {**STATE, "type": "state.sett"}, {**STATE, "id": "b", "configg": {}})
    checked = api.post("/definitions/flow/validate", {"document": document}).json()
    saved = api.put("/definitions/flow/draft", {"draft_version": 1, "document": document}).json()
    for found in (checked, saved, api.post("/definitions/flow/validate", {}).json()):
        assert not found["valid"]
        assert {"EXPRESSION_SYNTAX", "STEP_TYPE_UNKNOWN", "KEY_UNKNOWN"} <= {row["code"] for row in found["problems"]}
        assert all(row["line"] > 1 and row["pointer"].startswith("/steps/") for row in found["problems"])
    refusal = error_of(api.post("/definitions/flow/publish", {}), 400)
    assert (refusal["code"], len(refusal["details"]["problems"])) == ("DEFINITION_INVALID", len(saved["problems"]))
    assert not DefinitionVersion.objects.filter(tenant=tenant).exists()


def test_warning_does_not_block_publishing(api: Api) -> None:
    child = {"id": "c", "type": "control.callWorkflow", "workflowId": "later", "workflowVersion": 1}
    made = api.post("/definitions", {"key": "flow", "document": make_definition(child)})
    assert made.status_code == 201
    draft = draft_of(api)
    assert (draft["valid"], [row["severity"] for row in draft["problems"]]) == (True, ["warning"])
    assert api.post("/definitions/flow/publish", {}).json()["published_version"] == 1


def test_order_of_assignments_survives_the_editor(api: Api) -> None:
    step = {"id": "a", "type": "transform.assign", "config": {"assign": {"vars.z": 1, "vars.a": expr("vars.z")}}}
    api.post("/definitions", {"key": "flow", "document": make_definition(step)})
    assert list(draft_of(api)["document"]["steps"][0]["config"]["assign"]) == ["vars.z", "vars.a"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"draft_version": 1}, 400, "VALIDATION_ERROR"),
        ({"document": {}}, 400, "VALIDATION_ERROR"),
        ({"draft_version": 1, "document": "text"}, 400, "VALUE_NOT_STORABLE"),
        ({"draft_version": 1, "document": None}, 400, "VALUE_NOT_STORABLE"),
        ({"draft_version": 1, "document": {"id": "other"}}, 400, "DEFINITION_ID_MISMATCH"),
    ],
)
def test_refused_save_stores_nothing(api: Api, body: Any, status: int, code: str) -> None:
    api.post("/definitions", {"key": "flow", "document": changed("X")})
    assert error_of(api.put("/definitions/flow/draft", body), status)["code"] == code
    assert (draft_of(api)["draft_version"], draft_of(api)["document"]) == (1, changed("X"))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("resume", {"reason": "r", "held_starts": "\ud800"}, 400),
        ("publish", {"draft_version": 5, "note": "\ud800"}, 400),
    ],
)
def test_error_can_repeat_half_of_a_surrogate_pair(tenant: Any, api: Api, path: str, body: Any, status: int) -> None:
    publish(tenant, STATE)
    assert error_of(api.post(f"/definitions/flow/{path}", body), status)
    stale = {"draft_version": 9, "document": {"name": "\ud800"}}
    refusal = error_of(api.put("/definitions/flow/draft", stale), 409)
    assert (refusal["code"], refusal["details"]["yours"]) == ("DRAFT_STALE", {"name": "\ud800"})


def test_settings_are_changed_together_or_not_at_all(tenant: Any, api: Api) -> None:
    publish(tenant, STATE)
    good = {
        "owner": "Billing", "contact": "#billing", "runbook_url": "https://runbooks.test/flow", "concurrency_limit": 3,
        "auto_pause_on_failure": True, "failure_rate_threshold": 0.5, "failure_rate_min_runs": 10,
        "concurrency": {"key": {"$expr": "payload.customer"}, "onConflict": "queue"},
    }  # fmt: skip
    shown = api.patch("/definitions/flow", {**good, "reason": "handover"}).json()
    assert {name: shown[name] for name in good} == good
    row = Command.objects.filter(tenant=tenant).latest("requested_at")
    assert (row.reason, row.details["before"]["owner"], row.details["after"]["owner"]) == ("handover", "", "Billing")
    bad = {
        "owner": 5, "contact": "x" * 201, "runbook_url": "javascript:alert(1)", "concurrency_limit": 0,
        "auto_pause_on_failure": "yes", "failure_rate_threshold": 50, "failure_rate_min_runs": True,
        "concurrency": {"key": "payload.customer", "onConflict": "queue"},
    }  # fmt: skip
    for name, value in bad.items():
        refusal = error_of(api.patch("/definitions/flow", {"owner": "other", name: value}), 400)
        assert refusal["code"] == "DEFINITION_SETTINGS_INVALID"
        assert [problem["field"] for problem in refusal["details"]["problems"]] == [name]
    assert api.patch("/definitions/flow", {"concurrency_limit": None}).json()["concurrency_limit"] is None
    assert api.get("/definitions/flow").json()["owner"] == "Billing"


# -- Versions ----------------------------------------------------------------------------------------------------------


def test_roll_back_publishes_the_old_text_as_a_new_version(tenant: Any, api: Api) -> None:
    first = publish(tenant, STATE, trigger=TRIGGER)
    publish(tenant, {**STATE, "config": {"state": "Y"}}, trigger={**TRIGGER, "eventName": "OTHER"})
    assert error_of(api.post("/definitions/flow/rollback", {"version": 1}), 400)["code"] == "REASON_REQUIRED"
    for version, status, code in ((2, 409, "DEFINITION_VERSION_CURRENT"), (7, 404, "DEFINITION_VERSION_NOT_FOUND")):
        refusal = error_of(api.post("/definitions/flow/rollback", {"version": version, "reason": "x"}), status)
        assert refusal["code"] == code
    shown = api.post("/definitions/flow/rollback", {"version": 1, "reason": "Y fails"}).json()
    assert shown["published_version"] == 3
    newest = DefinitionVersion.objects.get(tenant=tenant, version=3)
    assert (newest.rolled_back_to, newest.note, newest.trigger_event_name) == (1, "Y fails", "REPLIED")
    assert newest.canonical_text == canonical_text({**first.document(), "version": 3})
    assert draft_of(api)["document"]["steps"][0]["config"] == {"state": "Y"}
    event_route(receive(tenant, workflow_correlation_key=None).id)
    assert EventDelivery.objects.get(tenant=tenant).definition_version_id == newest.id


def test_versions_without_limit_are_listed_in_pages(tenant: Any, api: Api) -> None:
    for number in range(60):
        publish(tenant, {**STATE, "config": {"state": f"S{number}"}})
    page = api.get("/definitions/flow/versions").json()
    assert (page["results"][0]["version"], len(page["results"]), page["next"] is not None) == (60, 50, True)


# -- Archive and delete ------------------------------------------------------------------------------------------------


def test_archived_definition_starts_nothing_until_it_is_taken_out(tenant: Any, api: Api) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    api.post("/definitions/flow/pause", {"reason": "a holiday"})
    receive(tenant, workflow_correlation_key=None)
    events_work(tenant_id=tenant.id, seconds=20)
    assert api.post("/definitions/flow/archive", {"reason": "replaced"}).json()["state"] == "archived"

    def reason() -> str:
        events_work(tenant_id=tenant.id, seconds=20)
        held = EventDelivery.objects.get(tenant=tenant)
        return held.reason if held.status == "skipped" else ""

    # A Celery worker of another test can have taken the delivery.
    assert (
        eventually(reason, what="the held start is skipped")
        == "the definition flow is archived and starts no more runs"
    )
    event_route(receive(tenant, workflow_correlation_key=None).id)
    assert EventDelivery.objects.filter(tenant=tenant).count() == 1
    for path, body in (
        ("/runs", {"definition": "flow", "payload": {}}), ("/definitions/flow/publish", {}),
        ("/definitions/flow/resume", {"reason": "x"}), ("/definitions/flow/archive", {"reason": "x"}),
    ):  # fmt: skip
        assert error_of(api.post(path, body), 409)["code"] == "DEFINITION_ARCHIVED", path
    assert [row["key"] for row in api.get("/definitions?state=archived").json()["results"]] == ["flow"]
    assert api.get("/definitions?state=draft&state=paused").json()["results"] == []
    assert api.post("/definitions/flow/unarchive", {"reason": "needed"}).json()["state"] == "paused"
    assert error_of(api.post("/definitions/flow/unarchive", {"reason": "x"}), 409)["code"] == "DEFINITION_NOT_ARCHIVED"


def test_delete_is_refused_while_runs_are_open_and_frees_the_key(tenant: Any, api: Api) -> None:
    version = publish(tenant, STATE, trigger=TRIGGER)
    run = make_run(tenant, definition_version=version)
    refusal = error_of(api.delete("/definitions/flow"), 409)
    assert (refusal["code"], refusal["details"]["openRuns"]) == ("DEFINITION_HAS_OPEN_RUNS", 1)
    with projection_writer("test"):
        Run.objects.filter(id=run.id).update(status="SUCCEEDED")
    for _ in range(2):
        assert api.delete("/definitions/flow", **{"Idempotency-Key": "d"}).status_code == 204
    assert error_of(api.get("/definitions/flow"), 404)
    assert api.get("/definitions").json()["results"] == []
    assert api.get(f"/runs/{run.id}").json()["definition"] == "flow"
    event_route(receive(tenant, workflow_correlation_key=None).id)
    assert not EventDelivery.objects.filter(tenant=tenant).exists()
    again = api.post("/definitions", {"key": "flow", "document": changed("X")}).json()
    assert again["id"] != str(version.definition_id)
    assert api.post("/definitions/flow/publish", {}).json()["published_version"] == 1


def test_each_change_has_a_ledger_row_and_a_refused_role_is_recorded(tenant: Any, api: Api) -> None:
    operator = Api(make_token(tenant, Role.OPERATOR))
    assert error_of(operator.post("/definitions", {"key": "flow"}), 403)["code"] == "PERMISSION_DENIED"
    api.post("/definitions", {"key": "flow", "document": changed("X")})
    api.put("/definitions/flow/draft", {"draft_version": 1, "document": changed("Y")})
    api.post("/definitions/flow/publish", {"note": "n"})
    api.post("/definitions/flow/archive", {"reason": "old"})
    api.post("/definitions/flow/unarchive", {"reason": "new"})
    api.delete("/definitions/flow", {"reason": "gone"})
    rows = Command.objects.filter(tenant=tenant).order_by("requested_at")
    assert [(row.action, row.state, row.reason, row.target_id) for row in rows] == [
        ("create_definition", "refused", "", "flow"), ("create_definition", "observed", "", "flow"),
        ("edit_definition", "observed", "", "flow"), ("publish", "observed", "n", "flow"),
        ("archive", "observed", "old", "flow"), ("unarchive", "observed", "new", "flow"),
        ("delete_definition", "observed", "gone", "flow"),
    ]  # fmt: skip
    assert rows[3].details["before"]["publishedVersion"] is None
    assert (rows[3].details["after"]["publishedVersion"], rows[3].details["version"]) == (1, 1)
