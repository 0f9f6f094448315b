"""Business data of runs: what is stored, which filters find it, and who may see it.

Source: docs/reference/screens.md#business-data
"""

import json
from typing import Any

import pytest
from django.db import transaction
from django.http import QueryDict
from django.urls import reverse

from tests.support.api import Api, error_of
from tests.support.factories import make_actor, make_token, publish
from tests.support.list_pages import links_in
from tests.support.members import member_of
from tests.support.plans import conditions_of, copies, plan_of
from tests.support.records import run_record, write
from workflows.admin.run_filters import RunListForm
from workflows.models import Definition, DefinitionVersion, Run, RunValue, Tenant
from workflows.projections.launches import record_launch
from workflows.selectors.run_values import runs_sorted_by_value, search_paths_of, value_order
from workflows.services.definitions.settings import definition_save_settings

pytestmark = pytest.mark.usefixtures("no_dispatcher")

LIST = "admin:workflows_run_changelist"
PATHS = [
    {"path": "amount", "type": "number"}, {"path": "customer.name", "type": "text"},
    {"path": "isNew", "type": "boolean"}, {"path": "due", "type": "date"},
]  # fmt: skip
PAYLOAD = {"amount": 1050.5, "customer": {"name": "Halden Bikes"}, "isNew": True, "due": "2026-11-24"}
STEP = {"id": "s", "type": "state.set", "config": {"state": "X"}}


@pytest.fixture
def version(tenant: Any) -> DefinitionVersion:
    made = publish(tenant, STEP, key="payment")
    definition_save_settings(actor=make_actor(tenant), key="payment", changes={"search_paths": PATHS})
    made.definition = Definition.objects.get(id=made.definition_id)
    return made


def launch(version: DefinitionVersion, payload: Any, **fields: Any) -> Run:
    run = Run(
        tenant_id=version.tenant_id, definition=version.definition, definition_version=version, input=payload,
        definition_key=version.definition.key, version=1, definition_hash="x", semantics_version=2,
        temporal_workflow_id=f"data-{Run.objects.count()}-{version.tenant_id}", status="RUNNING", **fields,
    )  # fmt: skip
    with transaction.atomic():
        assert record_launch(run)
    return run


def stored(run: Run) -> dict[str, str]:
    return dict(RunValue.objects.filter(run=run).values_list("path", "shown"))


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        (PAYLOAD, {"amount": "1050.5", "customer.name": "Halden Bikes", "isNew": "true", "due": "2026-11-24"}),
        ({"amount": "12", "due": "2026-11-24T10:00:00+01:00"}, {"amount": "12", "due": "2026-11-24T10:00:00+01:00"}),
        ({"amount": "many", "customer": "x", "isNew": "yes", "due": "soon"}, {}),
        ({"amount": True, "customer": {"name": ["x"]}, "isNew": 1, "due": 7}, {}),
        ({"amount": "1e999", "due": "0001-01-01T00:00:00+14:00"}, {}), ({"amount": 0}, {"amount": "0"}), ({}, {}),
        ({"customer": {"name": "k" * 300}}, {"customer.name": "k" * 200}),
        ({"customer": {"name": "<script>\u202e"}}, {"customer.name": "<script>\u202e"}),
    ],
)  # fmt: skip
def test_values_with_the_declared_type_are_stored(version: DefinitionVersion, payload: Any, wanted: Any) -> None:
    assert stored(launch(version, payload)) == wanted


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("data.amount.from=1000", True), ("data.amount.from=1050.5&data.amount.to=1050.5", True),
        ("data.amount.to=1050", False), ("data.amount.from=0", True), ("data.customer.name=halden", True),
        ("data.customer.name=HALDEN BIKES", True), ("data.customer.name=bikes", False), ("data.isNew=true", True),
        ("data.isNew=false", False), ("data.due.from=2026-11-24", True), ("data.due.from=2026-11-25", False),
        ("data.due.to=2026-11-24 12:00&data.amount.from=1", True), ("data.customer.name.is=halden BIKES", True),
        ("data.customer.name.is=halden", False),
    ],
)  # fmt: skip
def test_filter_finds_business_data(tenant: Any, version: DefinitionVersion, query: str, is_found: bool) -> None:
    run = launch(version, PAYLOAD)
    other = publish(tenant, STEP, key="other")
    launch(other, PAYLOAD)
    form = RunListForm(QueryDict(f"definition=payment&{query}"), search_paths_of(make_actor(tenant), "payment"))
    assert form.is_valid(), form.errors
    found = form.select(Run.objects.filter(tenant=tenant), tenant_id=tenant.id)
    assert list(found) == ([run] if is_found else [])


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_range_of_one_day_finds_the_date_and_all_times_of_the_day(
    tenant: Any, version: DefinitionVersion, zone: str
) -> None:
    """A date without a time is the same day in every zone. A time belongs to the day that it has in the zone."""
    offset = {"UTC": "Z", "America/New_York": "-05:00", "Asia/Kolkata": "+05:30"}[zone]
    for key, due in (
        ("DATE", "2026-11-24"), ("FIRST", f"2026-11-24T00:00:00{offset}"), ("LAST", f"2026-11-24T23:59:59{offset}"),
        ("BEFORE", "2026-11-23"), ("AFTER", "2026-11-25"), ("LATE", f"2026-11-25T00:00:00{offset}"),
        ("EARLY", f"2026-11-23T23:59:59{offset}"),
    ):  # fmt: skip
        launch(version, {"due": due}, correlation_key=key)
    client = member_of(tenant)
    client.cookies["pointsman_zone"] = zone
    name = {"UTC": "UTC", "America/New_York": "EST", "Asia/Kolkata": "IST"}[zone]
    for query, wanted in (
        ("data.due.from=2026-11-24&data.due.to=2026-11-24", {"DATE", "FIRST", "LAST"}),
        ("data.due.from=2026-11-24 12:00&data.due.to=2026-11-24 23:59:59", {"DATE", "LAST"}),
        ("data.due.from=2026-11-25", {"AFTER", "LATE"}), ("data.due.to=2026-11-23", {"BEFORE", "EARLY"}),
    ):  # fmt: skip
        page = client.get(f"{reverse(LIST)}?definition=payment&{query}")
        assert {row.run.correlation_key for row in page.context["rows"]} == wanted, query
        assert f"Due from ({name})" in " ".join(page.content.decode().split())


def test_list_shows_columns_tokens_and_errors(tenant: Any, version: DefinitionVersion) -> None:
    launch(version, PAYLOAD)
    client = member_of(tenant)
    url = f"{reverse(LIST)}?definition=payment"
    shown = client.get(f"{url}&data.amount.from=1000").content.decode()
    for words in ("1,050.5", "Halden Bikes", "Customer name", "Amount from"):
        assert words in shown, words
    assert "2026-11-24" in client.get(f"{url}&cols=data.due").content.decode()
    assert client.get(f"{url}&data.amount.from=many").status_code == 400
    assert client.get(f"{reverse(LIST)}?data.amount.from=1").status_code == 400  # it belongs to a definition


def test_hidden_values_have_no_column_and_no_filter(tenant: Any, version: DefinitionVersion) -> None:
    launch(version, PAYLOAD)
    url = f"{reverse(LIST)}?definition=payment"
    viewer = member_of(tenant, role="viewer")
    assert "Halden" not in viewer.get(url).content.decode()
    assert viewer.get(f"{url}&data.customer.name=halden").status_code == 400
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["/payload/customer"])
    client = member_of(tenant)
    assert ("Halden" in (text := client.get(url).content.decode()), "1,050.5" in text) == (False, True)
    assert client.get(f"{url}&data.customer.name=halden").status_code == 400
    definition_save_settings(
        actor=make_actor(tenant), key="payment", changes={"search_paths": [{"path": "token", "type": "text"}]}
    )
    version.definition.refresh_from_db()
    assert stored(launch(version, {"token": "secret"})) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        "amount", [{"path": "a"}], [{"path": "", "type": "text"}],
        [{"path": "a..b", "type": "text"}], [{"path": "a", "type": "text"}] * 2, [{"path": "\x00", "type": "text"}],
        [{"path": "a", "type": "money"}], [{"path": "a", "type": "money", "currency": "eur"}],
        [{"path": "a", "type": "text", "currency": "EUR"}], [{"path": "a", "type": "text", "label": " "}],
        [{"path": "a", "type": "text", "label": "x" * 61}], [{"path": "a", "type": "text", "label": "\x00"}],
        [{"path": "a", "type": "text", "unit": "x"}], [{"path": "a", "type": ["text"]}],
        [{"path": f"p{n}", "type": "text"} for n in range(11)], [{"path": "p" * 201, "type": "text"}],
    ],
)  # fmt: skip
def test_invalid_search_paths_are_refused(tenant: Any, version: DefinitionVersion, wrong: Any) -> None:
    error = error_of(Api(make_token(tenant, "author")).patch("/definitions/payment", {"search_paths": wrong}), 400)
    assert error["code"] in ("DEFINITION_SETTINGS_INVALID", "VALIDATION_ERROR")
    assert Definition.objects.get(tenant=tenant, key="payment").search_paths == PATHS


def test_filters_use_indexes_as_the_role_of_the_application(tenant: Any, version: DefinitionVersion) -> None:
    run = launch(version, PAYLOAD)
    copies(run, 20_000, id="md5('data-' || n)::uuid", temporal_workflow_id="'data-copy-' || n")
    for value in RunValue.objects.filter(run=run):
        copies(value, 20_000, run_id="md5('data-' || n)::uuid", text="'value-' || n", number="n", moment="now()")
    for query in ("data.customer.name=value-77", "data.amount.from=77&data.amount.to=78"):
        form = RunListForm(QueryDict(f"definition=payment&{query}"), search_paths_of(make_actor(tenant), "payment"))
        assert form.is_valid()
        found = form.select(Run.objects.filter(tenant=tenant), tenant_id=tenant.id).order_by("-created_at", "-id")[:50]
        conditions = conditions_of(tenant, found)
        assert "path)::text" in conditions
        assert "(text)::text >=" in conditions or "number >=" in conditions


FORMATTED = [
    {"path": "amount", "type": "money", "currency": "EUR", "label": "To pay"}, {"path": "due", "type": "date"},
    {"path": "isNew", "type": "boolean"}, {"path": "vars.total", "type": "number", "label": "Rows"},
    {"path": "vars.token", "type": "text"}, {"path": "vars.customer.name", "type": "text"},
]  # fmt: skip


@pytest.fixture
def formatted(version: DefinitionVersion) -> DefinitionVersion:
    actor = make_actor(version.definition.tenant)
    definition_save_settings(actor=actor, key="payment", changes={"search_paths": FORMATTED})
    version.definition.refresh_from_db()
    return version


def end(run: Run, variables: dict[str, Any]) -> None:
    """Record the end of a run with these variables."""
    write(run, run_record(2, "SUCCEEDED", output={"payload": {}, "vars": variables, "meta": {}}))


def test_values_are_shown_in_their_format_also_on_the_page_of_the_run(formatted: DefinitionVersion) -> None:
    run = launch(formatted, {"amount": 1050, "due": "2026-11-24T10:00:00+01:00", "isNew": True})
    end(run, {"total": 12000, "token": "secret", "customer": {"name": "Halden"}})
    client = member_of(formatted.definition.tenant)
    columns = "&".join(f"cols=data.{item['path']}" for item in FORMATTED if item["path"] != "vars.token")
    shown = client.get(f"{reverse(LIST)}?definition=payment&{columns}").content.decode()
    for words in ("EUR 1,050.00", "To pay", "2026-11-24 09:00 UTC", ">yes<", "12,000", "Rows", "Halden"):
        assert words in shown, words
    page = client.get(reverse("admin:workflows_run_change", args=[run.id])).content.decode()
    for words in ("To pay</span> <bdi>EUR 1,050.00</bdi>", "Rows <bdi>12,000</bdi>"):
        assert words in page, words
    viewer = member_of(formatted.definition.tenant, role="viewer")
    assert "1,050" not in viewer.get(reverse("admin:workflows_run_change", args=[run.id])).content.decode()


def test_variables_are_stored_at_the_end_and_forgotten_by_a_reset(formatted: DefinitionVersion) -> None:
    run = launch(formatted, {"amount": 7})
    assert stored(run) == {"amount": "7"}
    end(run, {"total": 3, "token": "secret"})
    assert stored(run) == {"amount": "7", "vars.total": "3"}
    assert write(run, run_record(1, "RUNNING"), epoch="epoch-2", current="epoch-2")
    assert stored(run) == {"amount": "7"}


def test_rules_for_payloads_hide_variables_too(formatted: DefinitionVersion) -> None:
    tenant = formatted.definition.tenant
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["/payload/name", "total"])
    paths = [path.path for path in search_paths_of(make_actor(tenant), "payment")]
    assert paths == ["amount", "due", "isNew"]


def test_list_is_sorted_by_business_data_and_says_who_is_left_out(formatted: DefinitionVersion) -> None:
    for amount in (30, 4, 200, None):
        launch(formatted, {} if amount is None else {"amount": amount})
    client = member_of(formatted.definition.tenant)
    url = f"{reverse(LIST)}?definition=payment"
    for order, wanted in (("data.amount", [4, 30, 200]), ("-data.amount", [200, 30, 4])):
        response = client.get(f"{url}&o={order}")
        assert [row.data["data.amount"] for row in response.context["rows"]] == [f"EUR {n}.00" for n in wanted]
        assert response.context["total"] == "3"
        assert "Runs without a value for <bdi>To pay</bdi> are left out" in response.content.decode()
    assert client.get(f"{url}&o=data.amount&q=none").status_code == 200
    assert client.get(f"{reverse(LIST)}?o=data.amount").status_code == 400
    (token,) = client.get(f"{url}&o=data.amount&cols=data.amount").context["tokens"]
    assert client.get(f"{reverse(LIST)}{token.without}").status_code == 200


def test_order_uses_an_index_as_the_role_of_the_application(formatted: DefinitionVersion) -> None:
    tenant = formatted.definition.tenant
    run = launch(formatted, {"amount": 0})
    copies(run, 20_000, id="md5('sorted-' || n)::uuid", temporal_workflow_id="'sorted-copy-' || n")
    copies(RunValue.objects.get(run=run), 20_000, run_id="md5('sorted-' || n)::uuid", number="n")
    (path, *_) = search_paths_of(make_actor(tenant), "payment")
    rows = runs_sorted_by_value(Run.objects.filter(tenant=tenant), path, tenant_id=tenant.id)
    plan = plan_of(tenant, rows.order_by(value_order(path), "id")[:50])
    assert "workflow_run_values_by_number" in {node.get("Index Name") for node in plan}
    assert "Seq Scan" not in {node["Node Type"] for node in plan}


def test_export_has_the_business_data(formatted: DefinitionVersion) -> None:
    launch(formatted, {"amount": 1050.5})
    launch(formatted, {})
    client = member_of(formatted.definition.tenant)
    rows = read_stream(client.get(f"{reverse('admin:workflows_run_export_json')}?definition=payment"))
    assert [row["data.amount"] for row in json.loads(rows)] == ["", "1050.5"]
    lines = read_stream(client.get(f"{reverse('admin:workflows_run_export_csv')}?definition=payment&o=data.amount"))
    assert "data.amount,data.due,data.isNew,data.vars.total" in lines
    assert lines.count("1050.5") == 1
    assert "data.amount" not in read_stream(client.get(reverse("admin:workflows_run_export_csv")))


def read_stream(response: Any) -> str:
    return b"".join(response.streaming_content).decode()


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("path", ["amount", "customer.name", "isNew", "due"])
def test_pages_of_a_list_that_is_sorted_by_business_data_have_each_run_once(
    version: DefinitionVersion, monkeypatch: pytest.MonkeyPatch, path: str, sign: str
) -> None:
    monkeypatch.setattr("workflows.admin.base.TenantAdmin.list_per_page", 2)
    for amount in (1e-7, 0.1, 2, 2, 1e300, -5.25, 0.30000000000000004):
        name, due = f"N {amount}", f"2026-11-{20 + int(amount) % 7}"
        launch(version, {"amount": amount, "customer": {"name": name}, "isNew": amount > 1, "due": due})
    client, found = member_of(version.tenant), list[Run]()
    query = f"?definition=payment&o={sign}data.{path}"
    while query:
        page = client.get(reverse(LIST) + query)
        found += page.context["cl"].result_list
        assert len(found) <= 7
        query = links_in(page).get("Next", "")
    assert len({run.id for run in found}) == 7
