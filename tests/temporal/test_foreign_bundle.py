"""A bundle with 20 definitions that were made elsewhere: imported, published, and run from events to their end.

Source: docs/reference/language.md#bundles
"""

from typing import Any

from tests.support.api import Api
from tests.support.factories import make_token, publish
from tests.support.foreign_bundle import COUNT, KINDS, foreign_bundle, key_of
from tests.support.tenant_driver import TenantDriver
from workflows.models import Definition, EventType, PayloadSchema, Run
from workflows.statuses import Role


def prepared(tenant: Any) -> None:
    """Create the catalogue of the tenant, and a definition that has the key of a child of the bundle."""
    schema = {"type": "object", "required": ["ref"], "properties": {"ref": {"type": "string"}}}
    PayloadSchema.objects.create(tenant=tenant, ref="payload.Made.v1", schema=schema)
    for number in range(0, COUNT, len(KINDS)):
        EventType.objects.create(
            tenant=tenant, name=f"MADE_{number}", payload_schema_ref="payload.Made.v1", correlation_paths=["ref"]
        )
    for name in ("MADE_ANSWER", "MADE_NEVER"):
        EventType.objects.create(tenant=tenant, name=name, correlation_paths=["ref"])
    for state in ("mine", "mine too"):
        publish(tenant, {"id": "s", "type": "state.set", "config": {"state": state}}, key=key_of(4))


def test_twenty_definitions_made_elsewhere_run_from_events_to_their_expected_end(driver: TenantDriver) -> None:
    tenant = driver.tenant
    prepared(tenant)
    document, expected = foreign_bundle()
    api = Api(make_token(tenant, Role.AUTHOR))
    response = api.post("/bundles/import?publish=true", document)
    assert response.status_code == 200, response.content
    results = {item["key"]: item for item in response.json()["workflows"]}
    assert len(results) == COUNT
    assert not [
        item for item in results.values() if item["problems"] or item["unresolved"] or item["published"] is None
    ]
    assert {key for key, item in results.items() if item["renamed"]} == {
        key_of(number) for number in range(COUNT) if KINDS[number % 5] != "child"
    }
    assert results[key_of(4)]["versions"] == [3, 4]  # the tenant has the versions 1 and 2
    assert results[key_of(9)]["versions"] == [3, 7]
    assert [call["number"] for call in results[key_of(1)]["references"]] == [3]
    refs = {row.key: row.published_version.document()["payloadSchemaRef"] for row in Definition.objects.filter(
        tenant=tenant).select_related("published_version")}  # fmt: skip
    assert {refs[key_of(number)] for number in range(0, COUNT, 5)} == {"payload.Made.v1"}
    for item in expected:
        if item.event is not None:
            driver.send(item.event, {"ref": item.key, "items": [1, 2, 3]}, workflow_correlation_key=item.key)
    for item in expected:
        if item.answers:
            driver.wait_for_run("WAITING", definition_key=item.key)
            driver.send("MADE_ANSWER", {"ref": item.key})
    for item in expected:
        run = driver.wait_for_run("SUCCEEDED", definition_key=item.key)
        # The parents call the older version of each child.
        assert run.state == (f"{item.key} old" if item.event is None else item.state)
    assert Run.objects.filter(tenant=tenant).count() == COUNT
    assert all(item["outcome"] == "unchanged" for item in api.post("/bundles/import", document).json()["workflows"])
