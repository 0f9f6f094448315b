"""Bundles written elsewhere: versions, children, duplicate step ids and inferred schemas.

Source: docs/reference/language.md#bundles
"""

from typing import Any

import pytest

from tests.support.factories import make_actor, make_definition, publish
from workflows.bundles.reading import FORMAT
from workflows.errors import InputInvalid
from workflows.models import Definition, DefinitionVersion, EventType, PayloadSchema
from workflows.services.bundle_check import ImportOptions
from workflows.services.bundle_import import bundle_import
from workflows.statuses import Role

CHILD_ID = "00000000-0000-0000-0000-0000000055C3"


def state(name: str, step_id: str = "s") -> dict[str, Any]:
    return {"id": step_id, "type": "state.set", "config": {"state": name}}


def call(child: str, version: int = 1, step_id: str = "call") -> dict[str, Any]:
    return {"id": step_id, "type": "control.callWorkflow", "workflowId": child, "workflowVersion": version}


def workflow(
    key: str, *steps: dict[str, Any], versions: dict[int, dict[str, Any]] | None = None, **metadata: Any
) -> dict[str, Any]:
    """Return a workflow of a bundle. Its steps are the draft; `versions` has one step for each published version."""
    published = [
        {"version": number, "definition": make_definition(step, key=key, version=number)}
        for number, step in (versions or {}).items()
    ]
    draft = {"draftVersion": 1, "definition": make_definition(*steps, key=key)} if steps else None
    return {"key": key, "metadata": {"name": key, **metadata}, "draft": draft, "publishedVersions": published}


def foreign(made: dict[str, Any], name: str) -> dict[str, Any]:
    made["draft"]["definition"]["id"] = name
    return made


def load(tenant: Any, *workflows: dict[str, Any], form: str = "other.bundle", live: bool = True, **options: Any) -> Any:
    document = {"format": form, "formatVersion": 1, "workflows": list(workflows)}
    chosen = ImportOptions(publish=live, **options)
    result = bundle_import(actor=make_actor(tenant, Role.AUTHOR), document=document, options=chosen)
    return {item.key: item for item in result.imported}


def child_of(tenant: Any, key: str) -> tuple[str, int]:
    """Return the child that the published version of a parent calls."""
    (step,) = Definition.objects.get(tenant=tenant, key=key).published_version.document()["steps"]
    return step["workflowId"], step["workflowVersion"]


def text_of(tenant: Any, key: str, version: int) -> str:
    row = DefinitionVersion.objects.get(tenant=tenant, definition__key=key, version=version)
    return row.document()["steps"][0]["config"]["state"]


def test_a_child_named_by_a_foreign_uuid_is_the_workflow_of_the_bundle(tenant: Any) -> None:
    parent = workflow("parent", call(CHILD_ID.lower()))
    results = load(tenant, parent, foreign(workflow("child", state("A")), CHILD_ID))
    assert child_of(tenant, "parent") == ("child", 1)
    assert results["parent"].references == [
        {"path": "root.steps[0]", "workflow": CHILD_ID.lower(), "version": 1, "key": "child", "number": 1}
    ]
    again = load(tenant, workflow("second", call(CHILD_ID)))  # the tenant has the child since the first import
    assert child_of(tenant, "second") == ("child", 1)
    assert again["second"].unresolved == []


def test_a_child_that_nobody_knows_is_listed_and_never_replaced(tenant: Any) -> None:
    nil = "00000000-0000-0000-0000-000000000000"
    results = load(tenant, workflow("parent", call(nil)), foreign(workflow("child", state("A")), CHILD_ID))
    assert results["parent"].unresolved == [{"path": "root.steps[0]", "workflow": nil, "version": 1}]
    assert child_of(tenant, "parent") == (nil, 1)


def test_versions_keep_their_numbers_in_a_tenant_without_the_workflow(tenant: Any) -> None:
    child = workflow("child", versions={2: state("two"), 5: state("five")})
    results = load(tenant, workflow("parent", call("child", 2)), child)
    assert (results["child"].versions, child_of(tenant, "parent")) == ([2, 5], ("child", 2))
    assert (text_of(tenant, "child", 2), text_of(tenant, "child", 5)) == ("two", "five")
    assert Definition.objects.get(tenant=tenant, key="child").published_version.version == 5


def test_a_parent_calls_the_child_of_its_bundle_and_not_the_tenants_child_of_the_same_number(tenant: Any) -> None:
    publish(tenant, state("mine"), key="child")
    publish(tenant, state("mine too"), key="child")
    bundle = [workflow("parent", call("child", 1)), workflow("child", versions={1: state("theirs")})]
    results = load(tenant, *bundle)
    assert (results["child"].versions, child_of(tenant, "parent")) == ([3], ("child", 3))
    assert text_of(tenant, "child", 3) == "theirs"
    again = load(tenant, *bundle)
    assert all(result.unchanged for result in again.values())
    assert DefinitionVersion.objects.filter(tenant=tenant).count() == 4


def test_workflows_that_call_each_other_follow_their_new_numbers(tenant: Any) -> None:
    publish(tenant, state("mine"), key="a")
    bundle = [
        workflow("a", versions={1: call("b", 1)}),
        workflow("b", versions={1: call("a", 1)}),
        workflow("self", versions={1: call("self", 1)}),
    ]
    load(tenant, *bundle)
    assert (child_of(tenant, "a"), child_of(tenant, "b"), child_of(tenant, "self")) == (
        ("b", 1),
        ("a", 2),
        ("self", 1),
    )
    assert all(result.unchanged for result in load(tenant, *bundle).values())


def test_a_child_version_that_the_bundle_lacks_refuses_the_whole_bundle_with_the_list(tenant: Any) -> None:
    bundle = [
        workflow("parent", call("child", 1)),
        workflow("other", call("child", 7)),
        workflow("child", versions={2: state("two")}),
        workflow("good", state("G")),
    ]
    with pytest.raises(InputInvalid) as caught:
        load(tenant, *bundle)
    assert caught.value.code == "BUNDLE_CHILD_VERSION"
    problems = [(problem["workflow"], problem["path"]) for problem in caught.value.details["problems"]]
    assert sorted(problems) == [("other", "root.steps[0]"), ("parent", "root.steps[0]")]
    assert not Definition.objects.filter(tenant=tenant).exists()
    results = load(tenant, *bundle, partial=True)
    assert {key for key, result in results.items() if result.problems} == {"parent", "other"}
    assert {row.key for row in Definition.objects.filter(tenant=tenant)} == {"child", "good"}


def test_a_partial_import_leaves_out_the_parents_of_refused_children(tenant: Any) -> None:
    publish(tenant, state("mine"), key="child")
    bundle = [
        workflow("grandparent", call("parent", 1)),
        workflow("parent", call("child", 1)),
        workflow("child", {"id": "x", "type": "nonsense"}),
    ]
    with pytest.raises(InputInvalid):
        load(tenant, *bundle)
    results = load(tenant, *bundle, workflow("good", state("G")), partial=True)
    assert results["child"].problems[0]["code"] == "STEP_TYPE_UNKNOWN"
    assert [results[key].problems[0]["code"] for key in ("parent", "grandparent")] == ["BUNDLE_CHILD_VERSION"] * 2
    assert {row.key for row in Definition.objects.filter(tenant=tenant)} == {"child", "good"}
    assert (results["good"].versions, text_of(tenant, "child", 1)) == ([1], "mine")


def test_duplicate_step_ids_of_a_foreign_bundle_are_renamed_and_listed(tenant: Any) -> None:
    steps = {
        "id": "guard", "type": "control.tryCatch",
        "try": [state("A", "notify"), state("B", "notify-2")], "catch": [state("C", "notify")],
    }  # fmt: skip
    results = load(tenant, workflow("flow", steps, state("D", "notify")))
    assert results["flow"].renamed == [
        {"path": "root.steps[0].catch.steps[0]", "from": "notify", "to": "notify-3"},
        {"path": "root.steps[1]", "from": "notify", "to": "notify-4"},
    ]
    assert load(tenant, workflow("flow", steps, state("D", "notify")))["flow"].unchanged
    for live in (True, False):
        with pytest.raises(InputInvalid, match="used twice") as caught:
            load(tenant, workflow("native", steps), form=FORMAT, live=live)
        assert caught.value.code == "BUNDLE_INVALID"


def test_an_inferred_schema_is_the_one_of_the_trigger_event(tenant: Any) -> None:
    PayloadSchema.objects.create(tenant=tenant, ref="payload.Paid.v1", schema={"type": "object"})
    EventType.objects.create(tenant=tenant, name="PAID", payload_schema_ref="payload.Paid.v1")

    def inferred(key: str, event: str) -> dict[str, Any]:
        made = workflow(key, state("A"), payloadSchemaMode="inferred", pinnedPayloadSchemaRef=None)
        made["draft"]["definition"] |= {
            "payloadSchemaRef": "payload.Unheard.v1", "trigger": {"type": "event", "eventName": event},
        }  # fmt: skip
        return {**made, "dependencies": {"schemaRefs": ["payload.Unheard.v1"]}}

    load(tenant, inferred("paid", "PAID"), inferred("other", "OTHER"))
    rows = {row.key: row for row in Definition.objects.filter(tenant=tenant)}
    assert {row.payload_schema_mode for row in rows.values()} == {"inferred"}
    refs = {key: row.published_version.document()["payloadSchemaRef"] for key, row in rows.items()}
    assert refs == {"paid": "payload.Paid.v1", "other": "payload.Any.v1"}
    assert rows["paid"].payload_schema_ref == "payload.Paid.v1"
