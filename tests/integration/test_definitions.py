"""Bundles, publication and versions of definitions.

Source: docs/reference/administration.md#definition-life-cycle, docs/reference/language.md#bundles
"""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from portal.demo.load import BUNDLES
from tests.support.factories import expr, make_actor, make_definition, publish
from workflows.engine.definition import canonical_text, definition_hash
from workflows.errors import InputInvalid, PermissionRefused
from workflows.models import ApiToken, Command, Definition, DefinitionVersion
from workflows.services.bundle_check import ImportOptions
from workflows.services.bundle_import import bundle_import
from workflows.statuses import Role

STATE = {"id": "s", "type": "state.set", "config": {"state": "X"}}


def bundle(*steps: dict[str, Any], key: str = "flow", **changes: Any) -> dict[str, Any]:
    workflow = {
        "key": key,
        "metadata": {"name": "Flow", "isPaused": False, "concurrencyLimit": 3},
        "draft": {"draftVersion": 1, "definition": make_definition(*steps, key=key)},
    }
    return {"format": "foreign.bundle", "formatVersion": 1, "exportedAt": "x", "workflows": [{**workflow, **changes}]}


def imported(tenant: Any, document: Any, *, publish: bool = True, role: Role = Role.AUTHOR) -> Any:
    options = ImportOptions(publish=publish)
    return bundle_import(actor=make_actor(tenant, role), document=document, options=options).imported


@pytest.mark.parametrize("path", sorted(BUNDLES.glob("*.json")), ids=lambda path: path.stem)
def test_demo_bundles_are_canonical_and_can_be_published(tenant: Any, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert canonical_text(json.loads(text)) == text
    assert imported(tenant, json.loads(text))[0].versions == [1]


def test_import_of_another_format_keeps_the_metadata(tenant: Any) -> None:
    (result,) = imported(tenant, bundle(STATE))
    definition = Definition.objects.get(tenant=tenant, key="flow")
    assert (result.versions, definition.concurrency_limit, definition.published_version.version) == ([1], 3, 1)


def test_concurrency_key_of_a_bundle_is_stored_and_null_removes_it(tenant: Any) -> None:
    rule = {"key": {"$expr": "payload.customer"}, "onConflict": "cancelOldest"}
    for value in (rule, None):
        imported(tenant, bundle(STATE, metadata={"name": "Flow", "concurrency": value}))
        assert Definition.objects.get(tenant=tenant, key="flow").concurrency == value


def test_repeated_import_changes_nothing(tenant: Any) -> None:
    imported(tenant, bundle(STATE))
    (again,) = imported(tenant, bundle(STATE))
    assert (again.unchanged, DefinitionVersion.objects.filter(tenant=tenant).count()) == (True, 1)


def test_publication_of_a_change_creates_the_next_version(tenant: Any) -> None:
    first = publish(tenant, STATE)
    second = publish(tenant, {**STATE, "config": {"state": "Y"}})
    assert (first.version, second.version, second.definition.published_version_id) == (1, 2, second.id)
    assert json.loads(second.canonical_text)["version"] == 2
    assert second.definition_hash == definition_hash(second.canonical_text) != first.definition_hash


def test_refused_publication_lists_every_problem_and_stores_nothing(tenant: Any) -> None:
    bad = {"id": "a", "type": "transform.assign", "config": {"assign": {"vars.x": expr("len(")}}}
    with pytest.raises(InputInvalid) as raised:
        imported(tenant, bundle(bad, {**STATE, "type": "human.task"}))
    assert raised.value.code == "DEFINITION_INVALID"
    assert {"EXPRESSION_SYNTAX", "FIELD_MISSING"} <= {problem["code"] for problem in raised.value.details["problems"]}
    assert not Definition.objects.filter(tenant=tenant).exists()


def test_refused_import_lists_all_missing_dependencies(tenant: Any) -> None:
    needs = {
        "actions": [{"actionId": "crm.note", "version": 1}, {"actionId": "http.request", "version": 1}],
        "schemaRefs": ["payload.None.v1"],
    }
    with pytest.raises(InputInvalid) as raised:
        imported(tenant, bundle(STATE, dependencies=needs))
    assert [item["name"] for item in raised.value.details["missing"]] == ["crm.note@1", "payload.None.v1"]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], ""), ({"format": "x", "formatVersion": 2, "workflows": []}, "formatVersion"),
        ({"format": "x", "formatVersion": 1, "workflows": []}, "workflows"),
        (bundle(STATE, key="Bad Key"), "workflows[0].key"), (bundle(STATE, draft=None), "workflows[0]"),
    ],
)  # fmt: skip
def test_invalid_bundle_is_refused_with_the_path(tenant: Any, document: Any, path: str) -> None:
    with pytest.raises(InputInvalid) as raised:
        imported(tenant, document)
    assert (raised.value.code, raised.value.details["path"]) == ("BUNDLE_INVALID", path)


def test_operators_cannot_import(tenant: Any) -> None:
    with pytest.raises(PermissionRefused):
        imported(tenant, bundle(STATE), role=Role.OPERATOR)


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"isPaused": "yes"}, "isPaused"), ({"concurrencyLimit": -1}, "concurrencyLimit"),
        ({"concurrencyLimit": True}, "concurrencyLimit"), ({"name": "x" * 300}, "name"),
        ({"payloadSchemaMode": "other"}, "payloadSchemaMode"),
        ({"retentionPolicyOverride": [1]}, "retentionPolicyOverride"),
        ({"concurrency": {"key": "payload.x", "onConflict": "skip"}}, "concurrency"),
        ({"failureRateThreshold": "high"}, "failureRateThreshold"), ({"description": 5}, "description"),
    ],
)  # fmt: skip
def test_invalid_metadata_is_refused_with_the_path(tenant: Any, metadata: dict[str, Any], path: str) -> None:
    with pytest.raises(InputInvalid) as raised:
        imported(tenant, bundle(STATE, metadata=metadata))
    assert raised.value.details["path"] == f"workflows[0].metadata.{path}"


def test_text_that_cannot_be_stored_is_refused_before_any_row_is_written(tenant: Any) -> None:
    with pytest.raises(InputInvalid, match="surrogate"):
        imported(tenant, bundle({**STATE, "config": {"state": "\ud800"}}))
    assert not Definition.objects.filter(tenant=tenant).exists()


def test_accepted_and_refused_requests_are_in_the_ledger(tenant: Any) -> None:
    from workflows.services.definitions.pause import definition_pause
    from workflows.services.definitions.publish import definition_publish

    viewer = make_actor(tenant, Role.VIEWER)
    imported(tenant, bundle(STATE))
    for request in (
        lambda: imported(tenant, bundle(STATE), role=Role.VIEWER),
        lambda: definition_publish(actor=viewer, key="flow"),
        lambda: definition_pause(actor=viewer, key="flow", reason="a test"),
    ):
        with pytest.raises(PermissionRefused):
            request()
    with pytest.raises(InputInvalid):
        imported(tenant, bundle({**STATE, "type": "nonsense"}))
    rows = Command.objects.filter(tenant=tenant).order_by("requested_at").values_list("action", "state", "code")
    assert list(rows) == [
        ("import", "observed", ""), ("import", "refused", "PERMISSION_DENIED"),
        ("publish", "refused", "PERMISSION_DENIED"), ("pause", "refused", "PERMISSION_DENIED"),
        ("import", "refused", "DEFINITION_INVALID"),
    ]  # fmt: skip


def test_demo_load_keeps_changes_of_the_user(database: None) -> None:
    from portal.demo.credentials import make_credentials
    from portal.demo.load import load_demo

    demo = load_demo(make_credentials())
    definition = Definition.objects.get(tenant=demo, key="approval")
    definition.draft_text, definition.is_paused = definition.draft_text.replace("Approval", "Changed"), True
    definition.save()
    # A token from before has the role operator, which cannot create definitions.
    ApiToken.objects.filter(tenant=demo, name="demo").update(role=Role.OPERATOR)
    load_demo(make_credentials())
    assert ApiToken.objects.get(tenant=demo, name="demo").role == Role.AUTHOR
    definition.refresh_from_db()
    assert (definition.is_paused, "Changed" in definition.draft_text, definition.versions.count()) == (True, True, 1)


def test_import_command_prints_each_problem(tenant: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(bundle(STATE)))
    bad.write_text(json.dumps(bundle({**STATE, "type": "state.sett"})))
    call_command("import_bundle", good, "--publish", "--tenant", tenant.slug)
    assert "flow: created, versions 1, published version 1" in capsys.readouterr().out
    with pytest.raises(CommandError, match="STEP_TYPE_UNKNOWN at root.steps\\[0\\]"):
        call_command("import_bundle", bad, "--publish", "--tenant", tenant.slug)
    with pytest.raises(CommandError, match="no active tenant 'no-such-tenant'"):
        call_command("import_bundle", good, "--tenant", "no-such-tenant")
