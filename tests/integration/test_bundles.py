"""Export and import of bundles: same text, dry run, force, missing dependencies, placeholders, bad input.

Source: docs/reference/language.md#bundles
"""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from portal.demo.load import BUNDLES
from tests.support.factories import expr, make_actor, make_definition, make_tenant, publish
from tests.support.native_bundles import native_bundle
from tests.support.statements import sent_statements
from workflows.bundles.reading import FORMAT
from workflows.engine.definition import canonical_text
from workflows.errors import InputInvalid, NotFound, PermissionRefused
from workflows.models import Command, Definition, DefinitionVersion, EventType, PayloadSchema
from workflows.services.bundle_check import ImportOptions
from workflows.services.bundle_export import bundle_export
from workflows.services.bundle_import import bundle_import, bundle_preview
from workflows.services.bundle_text import read_bundle_text
from workflows.services.definitions.publish import definition_publish
from workflows.statuses import Role
from workflows.strict_json import read_json

STATE = {"id": "s", "type": "state.set", "config": {"state": "X"}}


def author(tenant: Any) -> Any:
    return make_actor(tenant, Role.AUTHOR)


def workflow(*steps: dict[str, Any], key: str = "flow", **more: Any) -> dict[str, Any]:
    document = make_definition(*steps, key=key, **more.pop("envelope", {}))
    versions = (
        [{"version": 1, "definition": document, "payloadSchemaJson": None}] if more.pop("is_published", 1) else []
    )
    draft = {"draftVersion": 1, "definition": document}
    return {"key": key, "metadata": {"name": key}, "draft": draft, "publishedVersions": versions, **more}


def bundle(*workflows: dict[str, Any], form: str = "other.bundle") -> dict[str, Any]:
    return {"format": form, "formatVersion": 1, "workflows": list(workflows)}


def load(tenant: Any, document: Any, **options: Any) -> dict[str, Any]:
    result = bundle_import(actor=author(tenant), document=document, options=ImportOptions(**options))
    return {item.key: item for item in result.imported}


def preview(tenant: Any, document: Any, **options: Any) -> Any:
    return bundle_preview(actor=author(tenant), document=document, options=ImportOptions(**options))


def refusal(tenant: Any, document: Any, **options: Any) -> InputInvalid:
    with pytest.raises(InputInvalid) as caught:
        load(tenant, document, **options)
    assert not Definition.objects.filter(tenant=tenant, key="flow").exists()
    return caught.value


def without_time(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not line.startswith('  "exportedAt":'))


def rows(tenant: Any) -> tuple[int, ...]:
    kinds = (Definition, DefinitionVersion, PayloadSchema, Command)
    return tuple(kind.objects.filter(tenant=tenant).count() for kind in kinds)


def test_schemas_and_children_of_a_bundle_are_read_together(tenant: Any) -> None:
    for number in range(12):
        PayloadSchema.objects.create(tenant=tenant, ref=f"payload.S{number}.v1", schema={"type": "object"})
        publish(tenant, STATE, key=f"child-{number}")
    flows = [
        workflow(
            {"id": "c", "type": "control.callWorkflow", "workflowId": f"child-{number}", "workflowVersion": 1},
            key=f"flow-{number}", envelope={"payloadSchemaRef": f"payload.S{number}.v1"},
        )
        for number in range(12)
    ]  # fmt: skip
    with sent_statements() as statements:
        assert preview(tenant, bundle(*flows)).is_accepted
    reads = [sql for sql in statements if sql.startswith("SELECT")]
    of_schemas = [sql for sql in reads if 'FROM "workflow_schemas"' in sql]
    of_versions = [sql for sql in reads if "canonical_text" in sql and "child-1" in sql]
    assert 0 < len(of_schemas) <= 4, "\n".join(of_schemas)
    assert len(of_versions) <= 1, "\n".join(of_versions)


# -- The same text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_the_export_of_an_imported_native_bundle_is_its_text(tenant: Any, seed: int) -> None:
    text = native_bundle(seed)
    document = read_bundle_text(text.encode())
    keys = [item["key"] for item in document["workflows"]]
    load(tenant, document)
    exported = bundle_export(actor=author(tenant), keys=keys)
    assert without_time(exported) == without_time(text)
    assert all(item.unchanged for item in load(tenant, document).values())
    assert without_time(bundle_export(actor=author(tenant), keys=keys)) == without_time(text)


@pytest.mark.parametrize("path", sorted(BUNDLES.glob("*.json")), ids=lambda path: path.stem)
def test_the_export_of_a_demo_bundle_is_the_file(tenant: Any, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    document = read_json(text)
    load(tenant, document)
    keys = [item["key"] for item in document["workflows"]]
    assert without_time(bundle_export(actor=author(tenant), keys=keys)) == without_time(text)


def test_an_export_keeps_what_changed_after_the_import(tenant: Any) -> None:
    native = workflow(STATE)
    native["metadata"] = {"name": "flow", "description": None, "trigger": {"type": "event", "eventName": "OLD"}}
    load(tenant, bundle(native, form=FORMAT))
    publish(tenant, STATE, {**STATE, "id": "t"}, trigger={"type": "event", "eventName": "NEW"})
    (exported,) = json.loads(bundle_export(actor=author(tenant), keys=["flow"]))["workflows"]
    assert exported["metadata"]["trigger"] == {"type": "event", "eventName": "NEW"}
    assert exported["metadata"]["name"] == "Flow"
    assert [item["version"] for item in exported["publishedVersions"]] == [1, 2]


def test_a_graph_moves_to_another_tenant_by_key(tenant: Any) -> None:
    child = publish(tenant, STATE, key="child")
    call = {"id": "c", "type": "control.callWorkflow", "workflowId": str(child.definition_id), "workflowVersion": 1}
    publish(tenant, call, key="parent")
    publish(tenant, STATE, key="unrelated")
    text = bundle_export(actor=author(tenant), keys=["parent"], with_children=True)
    other = make_tenant()
    assert set(load(other, read_json(text))) == {"parent", "child"}
    parent = Definition.objects.get(tenant=other, key="parent")
    assert parent.published_version.document()["steps"][0]["workflowId"] == "child"
    assert without_time(bundle_export(actor=author(other), keys=["parent", "child"])) == without_time(text)
    assert [item["key"] for item in json.loads(bundle_export(actor=author(tenant)))["workflows"]] == [
        "child", "parent", "unrelated",
    ]  # fmt: skip
    with pytest.raises(NotFound) as caught:
        bundle_export(actor=author(other), keys=["child", "unrelated"])  # it belongs to another tenant
    assert caught.value.details == {"keys": ["unrelated"]}


# -- Dry run, force, drafts --------------------------------------------------------------------------------------------


def test_a_dry_run_stores_nothing_and_returns_the_results_of_the_import(tenant: Any) -> None:
    before = rows(tenant)
    needs = {"schemaRefs": ["payload.Later.v1"]}
    good = bundle(workflow(STATE), workflow(STATE, key="other", dependencies=needs))
    expected = preview(tenant, good, placeholders=True)
    assert rows(tenant) == before
    assert expected.is_accepted
    assert [vars(item) for item in expected.imported] == [
        vars(item) for item in load(tenant, good, placeholders=True).values()
    ]
    shown = preview(tenant, bundle(workflow({**STATE, "type": "x"}, key="bad"), workflow(STATE, key="fine")))
    assert (shown.is_accepted, [item.outcome for item in shown.imported]) == (False, ["refused", "created"])
    assert shown.problems[0]["workflow"] == "bad"


def test_force_replaces_a_draft_with_unpublished_changes_and_ends_the_archive(tenant: Any) -> None:
    load(tenant, bundle(workflow(STATE)))
    definition = Definition.objects.get(tenant=tenant, key="flow")
    mine = canonical_text(make_definition({**STATE, "id": "mine"}, key="flow"))
    Definition.objects.filter(id=definition.id).update(draft_text=mine)
    change = bundle(workflow({**STATE, "id": "theirs"}))
    with pytest.raises(InputInvalid) as caught:
        load(tenant, change)
    assert caught.value.code == "BUNDLE_DRAFT_CONFLICT"
    definition.refresh_from_db()
    assert definition.draft_text == mine
    assert load(tenant, change, force=True)["flow"].published == 2
    Definition.objects.filter(id=definition.id).update(archived_at=definition.created_at)
    with pytest.raises(InputInvalid, match="archived"):
        load(tenant, bundle(workflow(STATE)))
    load(tenant, bundle(workflow(STATE)), force=True)
    definition.refresh_from_db()
    assert (definition.archived_at, definition.draft_version) == (None, 3)


def test_the_draft_of_a_bundle_stays_a_draft_unless_it_is_published(tenant: Any) -> None:
    changed = workflow(STATE)
    changed["draft"] = {"draftVersion": 4, "definition": make_definition({**STATE, "id": "new"}, key="flow")}
    assert load(tenant, bundle(changed))["flow"].versions == [1]
    assert Definition.objects.get(tenant=tenant).draft_version == 4
    assert load(tenant, bundle(changed), publish=True)["flow"].versions == [1, 2]


def test_an_import_pauses_a_definition_and_never_resumes_it(tenant: Any) -> None:
    load(tenant, bundle(workflow(STATE, metadata={"isPaused": True})))
    again = load(tenant, bundle(workflow(STATE, metadata={"isPaused": False})))["flow"]
    assert [warning["code"] for warning in again.warnings] == ["BUNDLE_STAYS_PAUSED"]
    assert Definition.objects.get(tenant=tenant).is_paused


# -- Missing dependencies and placeholders -----------------------------------------------------------------------------

NEEDY = (
    {"id": "a", "type": "action.call", "config": {
        "actionId": "crm.note", "version": 1, "inputMapping": {"token": {"$secret": "CRM_TOKEN"}}}},
    {"id": "b", "type": "action.call", "config": {"actionId": "http.request", "version": 9, "inputMapping": {}}},
    {"id": "c", "type": "control.callWorkflow", "workflowId": "elsewhere", "workflowVersion": 1},
    {"id": "d", "type": "control.callWorkflow", "workflowId": "here", "workflowVersion": 7},
    {"id": "e", "type": "event.wait", "config": {"eventName": "UNHEARD", "correlationKey": expr("payload.id")}},
)  # fmt: skip
MISSING = [
    ("action", "crm.note@1", True), ("action version", "http.request@9", True), ("schema", "payload.New.v1", True),
    ("secret", "CRM_TOKEN", False), ("event type", "UNHEARD", False), ("child", "elsewhere@1", False),
    ("child version", "here@7", False),
]  # fmt: skip


def needy() -> dict[str, Any]:
    made = workflow(*NEEDY, envelope={"payloadSchemaRef": "payload.New.v1"})
    made["publishedVersions"][0]["payloadSchemaJson"] = {"type": "object", "required": ["id"]}
    return made


def test_a_refusal_lists_every_missing_dependency(tenant: Any) -> None:
    publish(tenant, STATE, key="here")
    EventType.objects.create(tenant=tenant, name="HEARD")
    error = refusal(tenant, bundle(needy()))
    assert error.code == "BUNDLE_DEPENDENCIES_MISSING"
    assert [(item["kind"], item["name"], item["blocks"]) for item in error.details["missing"]] == MISSING
    (shown,) = preview(tenant, bundle(needy())).imported
    assert [(item["kind"], item["name"], item["blocks"]) for item in shown.missing] == MISSING
    row = Command.objects.get(tenant=tenant, action="import")
    assert (row.state, row.code, row.details["missing"]) == (
        "refused", "BUNDLE_DEPENDENCIES_MISSING", error.details["missing"],
    )  # fmt: skip


def test_placeholders_must_be_filled_before_the_definition_is_published(tenant: Any) -> None:
    made = workflow(STATE, envelope={"payloadSchemaRef": "payload.New.v1"})
    made["publishedVersions"][0]["payloadSchemaJson"] = {"type": "object", "required": ["id"]}
    call = {
        "id": "c", "type": "control.callWorkflow", "workflowId": "flow", "workflowVersion": 1,
        "inputMapping": {"id": "1"},
    }  # fmt: skip
    document = bundle(made, workflow(call, key="parent"), workflow(STATE, key="complete"))
    results = load(tenant, document, placeholders=True)
    assert results["flow"].placeholders == [{"kind": "schema", "name": "payload.New.v1"}]
    assert [item.versions for item in results.values()] == [[], [], [1]]
    assert "BUNDLE_DRAFT_ONLY" in {warning["code"] for warning in results["parent"].warnings}
    schema = PayloadSchema.objects.get(tenant=tenant)
    assert (schema.ref, schema.is_placeholder, schema.schema["required"]) == ("payload.New.v1", True, ["id"])
    with pytest.raises(InputInvalid, match="payload.New.v1"):
        definition_publish(actor=author(tenant), key="flow")
    PayloadSchema.objects.update(is_placeholder=False)
    assert [item.versions for item in load(tenant, document).values()] == [[1], [1], [1]]


# -- Metadata and scenarios --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"concurrency": {"key": "payload.id", "onConflict": "skip"}}, "concurrency"),
        ({"concurrency": {"key": expr("payload.("), "onConflict": "skip"}}, "concurrency"),
        ({"concurrency": {"key": expr("payload.id"), "onConflict": "wait"}}, "concurrency"),
        ({"searchPaths": [{"path": "a", "type": "money"}]}, "searchPaths"),
        ({"searchPaths": {"path": "a", "type": "text"}}, "searchPaths"),
        ({"trigger": "never"}, "trigger"),
    ],
)  # fmt: skip
def test_invalid_metadata_is_refused_with_its_path(tenant: Any, metadata: dict[str, Any], path: str) -> None:
    assert (
        refusal(tenant, bundle(workflow(STATE, metadata=metadata))).details["path"] == f"workflows[0].metadata.{path}"
    )


def test_what_the_portal_does_not_apply_is_stored_with_a_warning(tenant: Any) -> None:
    made = workflow(STATE, scenarios=[{"name": "one"}], metadata={
        "concurrency": {"key": expr("payload.id"), "onConflict": "queue"},
        "searchPaths": [{"path": "a", "type": "date"}],
        "trigger": {"type": "event", "eventName": "OTHER"}, "ownField": 1,
    })  # fmt: skip
    found = {(warning["code"], warning["path"]) for warning in load(tenant, bundle(made))["flow"].warnings}
    assert found == {
        ("BUNDLE_KEY_IGNORED", "workflows[0].metadata.ownField"),
        ("BUNDLE_NOT_APPLIED", "scenarios"),
        ("BUNDLE_TRIGGER_IGNORED", "metadata.trigger"),
    }  # fmt: skip
    (exported,) = json.loads(bundle_export(actor=author(tenant)))["workflows"]
    assert (exported["scenarios"], exported["metadata"]["searchPaths"]) == (
        [{"name": "one"}], [{"path": "a", "type": "date"}],
    )  # fmt: skip
    assert exported["metadata"]["trigger"] is None


# -- Bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json", "not valid JSON"), (b'{"a": 1, "a": 2}', "'a' twice"), (b"\xff", "UTF-8"),
        (b"[" * 100_000, "too deeply"), (b'{"a": NaN}', "NaN"), (b'{"a": 1e999}', "/a: is outside the range"),
        (b"", "not valid JSON"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_strict_json_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InputInvalid, match=message) as caught:
        read_bundle_text(content)
    assert caught.value.code == "BUNDLE_INVALID"


@pytest.mark.parametrize(
    ("document", "paths"),
    [
        ([], [""]), ({}, ["format", "formatVersion", "workflows"]),
        ({**bundle(workflow(STATE)), "formatVersion": 2}, ["formatVersion"]),
        ({**bundle(workflow(STATE)), "formatVersion": True}, ["formatVersion"]),
        ({**bundle(workflow(STATE)), "workflows": {}}, ["workflows"]),
        (bundle(workflow(STATE), workflow(STATE)), ["workflows"]),
        ({**bundle(workflow(STATE), form=FORMAT), "more": 1}, ["more"]),
        (bundle(workflow(STATE, more=1), form=FORMAT), ["workflows[0].more"]),
        (bundle(workflow(STATE, metadata={"more": 1}), form=FORMAT), ["workflows[0].metadata.more"]),
        (bundle(5, {"key": "A"}), ["workflows[0]", "workflows[0].key", "workflows[1].key"]),
        (bundle(workflow(STATE, draft=[1], publishedVersions=5)), [
            "workflows[0].publishedVersions", "workflows[0].draft", "workflows[0].draft.definition"]),
        (bundle(workflow(STATE, scenarios={})), ["workflows[0].scenarios"]),
        (bundle(workflow(STATE, dependencies={"actions": [{"actionId": 1}]})), ["workflows[0].dependencies.actions"]),
    ],
)  # fmt: skip
def test_a_bundle_with_a_wrong_shape_is_refused_with_all_problems(tenant: Any, document: Any, paths: list[str]) -> None:
    error = refusal(tenant, document)
    assert (error.code, [problem["path"] for problem in error.details["problems"]]) == ("BUNDLE_INVALID", paths)


def test_a_partial_import_leaves_out_unreadable_workflows_and_their_parents(tenant: Any) -> None:
    call = {"id": "c", "type": "control.callWorkflow", "workflowId": "broken", "workflowVersion": 1}
    broken = workflow(STATE, key="broken", metadata={"name": 5})
    document = bundle(broken, workflow(call, key="parent"), workflow(STATE, key="good"))
    results = load(tenant, document, partial=True)
    assert [item.outcome for item in results.values()] == ["refused", "refused", "created"]
    assert [row.key for row in Definition.objects.filter(tenant=tenant)] == ["good"]


def test_viewers_export_and_only_authors_import(tenant: Any) -> None:
    publish(tenant, STATE)
    operator = make_actor(tenant, Role.OPERATOR)
    document = read_json(bundle_export(actor=make_actor(tenant, Role.VIEWER)))
    for call in (bundle_import, bundle_preview):
        with pytest.raises(PermissionRefused):
            call(actor=operator, document=document)
    assert Command.objects.filter(tenant=tenant, action="import", code="PERMISSION_DENIED").count() == 2


def test_the_commands_show_a_dry_run_and_write_the_exported_file(
    tenant: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = native_bundle(3)
    file, copy = tmp_path / "in.json", tmp_path / "out.json"
    file.write_text(text, encoding="utf-8")
    call_command("import_bundle", file, "--dry-run", "--tenant", tenant.slug)
    assert "Nothing was stored" in capsys.readouterr().out
    assert not Definition.objects.filter(tenant=tenant).exists()
    call_command("import_bundle", file, "--tenant", tenant.slug)
    keys = [item["key"] for item in json.loads(text)["workflows"]]
    call_command("export_bundle", *keys, "--output", copy, "--tenant", tenant.slug)
    assert without_time(copy.read_text(encoding="utf-8")) == without_time(text)
    file.write_text(json.dumps(bundle(needy())))
    with pytest.raises(CommandError, match="would be refused"):
        call_command("import_bundle", file, "--dry-run", "--tenant", tenant.slug)
    assert "missing action crm.note@1" in capsys.readouterr().out
    with pytest.raises(CommandError, match="DEFINITION_NOT_FOUND"):
        call_command("export_bundle", "nothing", "--tenant", tenant.slug)
