"""Requests about a definition or a connector that arrive at the same moment as a start or a publication.

Source: docs/reference/administration.md#definition-life-cycle
"""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from ingress.dispatch.work import events_work
from tests.support.action_steps import action_step
from tests.support.api import Api, error_of
from tests.support.blocked import start_until_blocked
from tests.support.events import receive
from tests.support.factories import make_actor, make_definition, make_token, publish
from tests.support.triggers import STATE, TRIGGER
from workflows.errors import Conflict
from workflows.models import Definition, EventDelivery, Run
from workflows.services.connectors import connector_save
from workflows.services.definitions import publish as publications
from workflows.services.definitions.ends import definition_delete
from workflows.services.runs import launch
from workflows.statuses import Role
from workflows.temporal import gateway

# A dispatcher of another test would route the events of these tests.
pytestmark = pytest.mark.usefixtures("no_dispatcher")

SPEC = {"label": "Create a contact", "url": "https://crm.example/contacts"}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as threads:
        yield threads


@pytest.fixture(autouse=True)
def temporal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept every start. Temporal is not called."""
    monkeypatch.setattr(gateway, "start_run", lambda run, **_: f"first-{uuid.uuid4()}")
    monkeypatch.setattr(gateway, "check_reachable", lambda: None)


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor, module: Any, name: str, work: Callable[[], Any]
) -> list[Future[Any]]:
    """Let the work run in another session after the first call of a function. Return the list of its future."""
    real, futures = getattr(module, name), []

    def call(*arguments: Any, **named: Any) -> Any:
        result = real(*arguments, **named)
        if not futures:
            futures.append(start_until_blocked(pool, work))
        return result

    monkeypatch.setattr(module, name, call)
    return futures


@pytest.mark.parametrize("by_event", [True, False])
def test_start_finds_the_deletion_that_was_committed_before_its_row(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor, by_event: bool
) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    api = Api(make_token(tenant, Role.AUTHOR))
    delete = meanwhile(
        monkeypatch, pool, launch, "run_take_key", lambda: definition_delete(actor=make_actor(tenant), key="flow")
    )
    if by_event:
        receive(tenant, workflow_correlation_key=None)
        events_work(tenant_id=tenant.id, seconds=20)
        assert EventDelivery.objects.get(tenant=tenant).status == "skipped"
    else:
        assert error_of(api.post("/runs", {"definition": "flow", "payload": {}}), 409)["code"] == "DEFINITION_ARCHIVED"
    delete[0].result()
    assert not Run.objects.filter(tenant=tenant).exists()


def test_deletion_waits_for_a_start_and_finds_its_run(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    publish(tenant, STATE)
    delete = meanwhile(
        monkeypatch, pool, launch, "require_present", lambda: definition_delete(actor=make_actor(tenant), key="flow")
    )
    response = Api(make_token(tenant, Role.AUTHOR)).post("/runs", {"definition": "flow", "payload": {}})
    assert response.status_code == 202
    with pytest.raises(Conflict) as refusal:
        delete[0].result()
    assert refusal.value.code == "DEFINITION_HAS_OPEN_RUNS"
    assert Definition.objects.filter(tenant=tenant).exists()


def test_connector_cannot_be_changed_between_the_check_of_a_definition_and_its_publication(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    def save(**spec: Any) -> None:
        connector_save(actor=make_actor(tenant), action_id="crm.create", version=1, spec={**SPEC, **spec})

    save()
    change = meanwhile(
        monkeypatch, pool, publications, "definition_problems",
        lambda: save(input_schema={"type": "object", "required": ["id"]}),
    )  # fmt: skip
    api = Api(make_token(tenant, Role.AUTHOR))
    document = make_definition(action_step(action="crm.create", inputMapping={}))
    api.post("/definitions", {"key": "flow", "document": document})
    assert api.post("/definitions/flow/publish", {}).status_code == 200
    with pytest.raises(Conflict) as refusal:
        change[0].result()
    assert refusal.value.code == "CONNECTOR_IN_USE"
