"""HTTP connectors: a bundle whose actions are all connectors runs against a recording server."""

import json
from typing import Any

import pytest

from tests.support.action_steps import action_step
from tests.support.factories import expr, make_actor, make_definition, publish
from tests.support.fakes import fake_api, lost_response_api
from tests.support.tenant_driver import TenantDriver
from workflows.models import ActionInvocation, RunStep, RunWait
from workflows.services.bundle_check import ImportOptions
from workflows.services.bundle_import import bundle_import
from workflows.services.connectors import connector_save
from workflows.services.secrets import secret_save

SECRET = "Bearer correct-horse-battery"


def save_connector(driver: TenantDriver, action_id: str, **spec: Any) -> None:
    connector_save(actor=driver.actor, action_id=action_id, version=1, spec={"label": action_id, **spec})


def flow(key: str, *steps: dict[str, Any]) -> dict[str, Any]:
    actions = [{"actionId": step["config"]["actionId"], "version": 1} for step in steps]
    return {
        "key": key,
        "publishedVersions": [{"version": 1, "definition": make_definition(*steps, key=key)}],
        "dependencies": {"actions": actions},
    }


def test_bundle_with_connectors_only_runs_against_a_recording_server(driver: TenantDriver) -> None:
    secret_save(actor=driver.actor, name="CRM_TOKEN", value=SECRET)
    answers = [
        (201, {"contact": {"id": "C 7/8"}, "echo": f"you sent {SECRET}"}),
        (200, {"tickets": [{"id": 1}, {"id": 2}], "ok": True}),
        (204, None),
    ]
    with fake_api(lambda number: answers[number - 1]) as api:
        save_connector(
            driver,
            "crm.create_contact",
            url=f"{api.url}/v1/contacts",
            headers={"Authorization": {"$secret": "CRM_TOKEN"}, "X-Source": "portal {source}"},
            body={"name": {"$input": "name"}, "note": {"$input": "note"}, "tags": ["{source}", {"$input": "tag"}]},
            input_schema={"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
            output={"id": {"$response": "body.contact.id"}, "echo": {"$response": "body.echo"}},
            output_schema={"type": "object", "required": ["id"]},
            idempotency_header="X-Request-Key",
        )
        save_connector(
            driver,
            "crm.list_tickets",
            method="GET",
            url=f"{api.url}/v1/contacts/{{contact.id}}/tickets",
            query={"limit": {"$input": "limit"}, "cursor": {"$input": "cursor"}},
            output={"first": {"$response": "body.tickets.0.id"}},
            success={"statuses": [200], "filters": [{"path": "body.ok", "op": "=", "value": True}]},
        )
        save_connector(
            driver, "crm.close", url=f"{api.url}/close", body={"id": {"$input": "id"}}, body_format="form",
            output={"status": {"$response": "status"}}, success={"statuses": [204]},
        )  # fmt: skip
        create = action_step(
            "create", action="crm.create_contact", saveAs="made",
            inputMapping={"name": expr("payload.name"), "source": "tests", "tag": 5},
        )  # fmt: skip
        listing = action_step(
            "list", action="crm.list_tickets", saveAs="tickets",
            inputMapping={"contact": {"id": expr("vars.made.id")}, "limit": 2},
        )  # fmt: skip
        close = action_step("close", action="crm.close", inputMapping={"id": expr("vars.tickets.first")})
        bundle = {"format": "acme.bundle", "formatVersion": 1, "workflows": [flow("flow", create, listing, close)]}
        bundle_import(actor=driver.actor, document=bundle, options=ImportOptions(publish=True))
        run = driver.wait_for_run("SUCCEEDED", id=driver.start({"name": "Zoë"}).id)

    made, listed, closed = api.requests
    assert (made.method, made.path) == ("POST", "/v1/contacts")
    assert json.loads(made.body) == {"name": "Zoë", "tags": ["tests", 5]}
    sent = {name.lower(): value for name, value in made.headers.items()}
    assert (sent["authorization"], sent["x-source"]) == (SECRET, "portal tests")
    assert sent["x-request-key"] == f"{run.id}/root.steps[0]"
    assert "idempotency-key" not in sent
    assert (listed.method, listed.path) == ("GET", "/v1/contacts/C%207%2F8/tickets?limit=2")
    assert (closed.body, closed.headers["Content-Type"]) == (b"id=1", "application/x-www-form-urlencoded")
    outputs = {step.step_id: step.output for step in RunStep.objects.filter(run=run)}
    assert outputs == {
        "create": {"id": "C 7/8", "echo": "you sent [secret CRM_TOKEN]"},
        "list": {"first": 1},
        "close": {"status": 204},
    }
    assert SECRET not in json.dumps(driver.history(run))
    assert not any(SECRET in json.dumps([row.input, row.output]) for row in ActionInvocation.objects.filter(run=run))


@pytest.mark.parametrize(
    ("spec", "answer", "value", "category", "code"),
    [
        ({}, (200, {}), {"n": 1}, "ValidationError", "ACTION_INPUT_INVALID"),
        ({}, (404, {}), {"id": "1"}, "ActionError", "HTTP_404"),
        ({"success": {"statuses": [404]}}, (200, {}), {"id": "1"}, "ActionError", "HTTP_200"),
        ({"retry": {"statuses": [404]}}, (404, {}), {"id": "1"}, "TransientError", "HTTP_404"),
        ({}, (500, {}), {"id": "1"}, "TransientError", "HTTP_500"),
        (
            {"success": {"filters": [{"path": "body.ok", "op": "=", "value": True}]}},
            (200, {"ok": False}),
            {"id": "1"},
            "ActionError",
            "CONNECTOR_NOT_SUCCESSFUL",
        ),
        (
            {"output_schema": {"required": ["x"]}},
            (200, {"y": 1}),
            {"id": "1"},
            "ValidationError",
            "CONNECTOR_OUTPUT_INVALID",
        ),
        ({}, (200, {}), {"id": ".."}, "ValidationError", "CONNECTOR_INPUT_UNUSABLE"),
        (
            {"headers": {"X-A": "{other}"}},
            (200, {}),
            {"id": "1"},
            "ValidationError",
            "CONNECTOR_INPUT_UNUSABLE",
        ),
        ({"headers": {"X-A": {"$secret": "NOT_SAVED"}}}, (200, {}), {"id": "1"}, "ValidationError", "SECRET_UNKNOWN"),
    ],
)
def test_failure_of_a_connector_has_the_category_of_its_rules(
    driver: TenantDriver, spec: dict[str, Any], answer: tuple[int, Any], value: Any, category: str, code: str
) -> None:
    with fake_api(lambda number: answer) as api:
        schema = {"type": "object", "required": ["id"]}
        save_connector(driver, "x.call", url=f"{api.url}/{{id}}", method="GET", input_schema=schema, **spec)
        publish(driver.tenant, action_step(action="x.call", inputMapping=value))
        failed = driver.wait_for_run("FAILED", id=driver.start().id)
    assert (failed.error_category, failed.error_code) == (category, code)


@pytest.mark.parametrize(("is_idempotent", "status"), [(True, "SUCCEEDED"), (False, "WAITING")])
def test_lost_response_is_repeated_only_if_the_connector_is_idempotent(
    driver: TenantDriver, is_idempotent: bool, status: str
) -> None:
    with lost_response_api() as url:
        save_connector(driver, "x.call", url=f"{url}/", is_idempotent=is_idempotent, body={})
        publish(driver.tenant, action_step(action="x.call", inputMapping={}, retry={"maxAttempts": 2, "backoffMs": 1}))
        run = driver.wait_for_run(status, id=driver.start().id)
    waits = RunWait.objects.filter(run=run, status="WAITING").values_list("kind", flat=True)
    assert list(waits) == ([] if is_idempotent else ["human"])


def test_connector_of_another_tenant_is_not_found(driver: TenantDriver, tenant: Any) -> None:
    from tests.support.factories import make_tenant
    from workflows.actions.lookup import KnownActions, tenant_action

    other = make_tenant()
    connector_save(actor=make_actor(other), action_id="crm.other", spec={"label": "x", "url": "https://example.org/"})
    assert "crm.other" in KnownActions(other.id).versions()
    assert "crm.other" not in KnownActions(tenant.id).versions()
    assert tenant_action(tenant_id=tenant.id, action_id="crm.other", version=1) is None
