"""Actions `store.*` as an activity runs them, inside the transaction of the action ledger.

Source: docs/reference/engine.md#actions
"""

import itertools
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.support.factories import make_run, make_tenant
from tests.support.perform_action import perform_action
from tests.support.system_scope import in_system_scope
from workflows.engine.errors import RunError
from workflows.engine.scope import json_size
from workflows.models import ActionInvocation, DataStoreEntry, Run
from workflows.services.missing_actions import missing_action_note

Store = Callable[..., Any]


def perform(run: Run, name: str, value: dict[str, Any], *, key: str = "") -> Any:
    """Execute `store.<name>` once and return its output.

    Errors: RunError.
    """
    return perform_action(run, f"store.{name}", value, key=key)


@pytest.fixture
def store(tenant: Any) -> Store:
    run = make_run(tenant)
    return lambda name, **value: perform(run, name, value)


def refused(store: Store, name: str, **value: Any) -> RunError:
    with pytest.raises(RunError) as caught:
        store(name, **value)
    assert caught.value.category == "ValidationError"  # the default retry policy does not repeat it
    return caught.value


@pytest.mark.parametrize("value", [None, False, 0, "", "Zoë", [1, [2]], {"b": 1, "a": {"x": None}}, 1e300])
def test_any_json_is_returned_unchanged(store: Store, value: Any) -> None:
    assert store("set", key="k", value=value) == {"version": 1, "revision": 1, "created": True}
    found = store("get", key="k")
    assert found == {"found": True, "value": value, "version": 1, "revision": 1, "expiresAt": None}
    assert str(found["value"]) == str(value)  # also in the order of keys


def test_missing_entry_differs_from_null(store: Store) -> None:
    store("set", key="k", value=None)
    assert store("get", key="k")["found"] is True
    assert store("get", key="other") == {
        "found": False,
        "value": None,
        "version": None,
        "revision": 0,
        "expiresAt": None,
    }


def test_second_write_replaces_the_value_and_increments_the_version(store: Store) -> None:
    store("set", key="k", value={"a": 1})
    assert store("set", key="k", value=[]) == {"version": 2, "revision": 2, "created": False}
    assert store("get", key="k")["value"] == []


def test_delete(store: Store) -> None:
    store("set", key="k", value=1)
    assert [store("delete", key="k"), store("delete", key="k")] == [{"deleted": True}, {"deleted": False}]
    assert store("get", key="k")["found"] is False


def test_namespaces_and_tenants_are_separate(store: Store) -> None:
    run = make_run(make_tenant())

    def other(name: str, **value: Any) -> Any:
        return perform(run, name, value)

    store("set", key="k", value="default")
    store("set", key="k", value="ns", namespace="ns")
    other("set", key="k", value="the other tenant's")
    assert other("increment", key="n", by=5)["value"] == 5
    assert other("delete", key="k", namespace="ns") == {"deleted": False}
    assert other("delete", key="k") == {"deleted": True}
    assert (store("get", key="k")["value"], store("get", key="k", namespace="ns")["value"]) == ("default", "ns")
    assert [entry["key"] for entry in store("list")["entries"]] == ["k"]
    assert store("increment", key="n")["value"] == 1


# -- Conditions -------------------------------------------------------------------------------------------------------


def test_only_if_absent(store: Store) -> None:
    assert store("set", key="lock", value="first", onlyIfAbsent=True)["created"] is True
    error = refused(store, "set", key="lock", value="second", onlyIfAbsent=True)
    assert (error.code, error.details) == ("STORE_CONDITION_FAILED", {"version": 1})
    assert store("get", key="lock")["value"] == "first"


def test_expected_version_permits_one_writer(store: Store) -> None:
    store("set", key="k", value="a")
    assert store("set", key="k", value="b", expectedVersion=1)["version"] == 2
    error = refused(store, "set", key="k", value="c", expectedVersion=1)
    assert (error.code, error.details) == ("STORE_CONDITION_FAILED", {"version": 2})
    assert refused(store, "delete", key="k", expectedVersion=1).details == {"version": 2}
    assert store("get", key="k")["value"] == "b"
    assert store("delete", key="k", expectedVersion=2) == {"deleted": True}


@pytest.mark.parametrize("name", ["set", "delete"])
def test_expected_version_of_a_missing_entry_fails_without_a_row(store: Store, tenant: Any, name: str) -> None:
    value = {"value": 1} if name == "set" else {}
    error = refused(store, name, key="none", expectedVersion=1, **value)
    assert (error.code, error.details) == ("STORE_CONDITION_FAILED", {"version": None})
    assert DataStoreEntry.objects.filter(tenant=tenant).count() == 0


def test_one_of_many_concurrent_writers_gets_the_lock(tenant: Any) -> None:
    run, start = make_run(tenant), threading.Barrier(8)

    @in_system_scope
    def take(number: int) -> str | None:
        try:
            start.wait(60)
            perform(run, "set", {"key": "lock", "value": number, "onlyIfAbsent": True})
        except RunError as error:
            return error.code
        finally:
            connection.close()
        return "taken"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(take, range(8))) == ["STORE_CONDITION_FAILED"] * 7 + ["taken"]


def test_write_concurrent_with_a_delete_is_not_lost(tenant: Any) -> None:
    run, start = make_run(tenant), threading.Barrier(8)

    @in_system_scope
    def work(number: int) -> int:
        try:
            start.wait(60)
            if number % 2:
                return sum(perform(run, "delete", {"key": "n"})["deleted"] for _ in range(25))
            return sum(perform(run, "increment", {"key": "n"})["version"] == 1 for _ in range(25))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(work, range(8)))
    left = 1 if perform(run, "get", {"key": "n"})["found"] else 0
    assert sum(counts[0::2]) == sum(counts[1::2]) + left  # each new entry was deleted once, or still exists


# -- Increment --------------------------------------------------------------------------------------------------------


def test_increment_starts_at_zero(store: Store) -> None:
    assert store("increment", key="n") == {"value": 1, "version": 1, "revision": 1}
    assert store("increment", key="n", by=-3) == {"value": -2, "version": 2, "revision": 2}
    assert store("increment", key="n", by=0.5) == {"value": -1.5, "version": 3, "revision": 3}
    assert store("get", key="n")["value"] == -1.5


def test_concurrent_increments_are_all_counted(tenant: Any) -> None:
    run, start = make_run(tenant), threading.Barrier(8)

    @in_system_scope
    def count(_: int) -> list[int]:
        try:
            start.wait(60)
            return [perform(run, "increment", {"key": "n"})["value"] for _ in range(15)]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        seen = list(itertools.chain.from_iterable(pool.map(count, range(8))))
    assert sorted(seen) == list(range(1, 121))  # each value was returned once
    assert perform(run, "get", {"key": "n"})["version"] == 120


def test_repeated_execution_increments_once(tenant: Any) -> None:
    run = make_run(tenant)
    assert [perform(run, "increment", {"key": "n"}, key="same")["value"] for _ in range(3)] == [1, 1, 1]
    assert ActionInvocation.objects.get(run=run).executions == 1


@pytest.mark.parametrize("value", ["1", None, True, [], {}])
def test_only_numbers_are_incremented(store: Store, value: Any) -> None:
    store("set", key="k", value=value)
    error = refused(store, "increment", key="k")
    assert (error.code, "'k'" in error.message) == ("STORE_NOT_A_NUMBER", True)
    assert store("get", key="k")["value"] == value


@pytest.mark.parametrize(
    ("value", "by"), [(2**53 - 1, 1), (1.7e308, 1.7e308), (10**400, 1), (1, 10**400), (0.5, 10**400)]
)
def test_sum_that_is_not_exact_is_refused(store: Store, value: Any, by: Any) -> None:
    store("set", key="k", value=value)
    assert refused(store, "increment", key="k", by=by).code == "STORE_NUMBER_TOO_LARGE"


# -- Expiry -----------------------------------------------------------------------------------------------------------


def pass_expiry(tenant: Any, key: str) -> None:
    past = timezone.now() - timedelta(seconds=1)
    assert DataStoreEntry.objects.filter(tenant=tenant, key=key, expires_at__gt=past).update(expires_at=past) == 1


def test_expired_entry_is_absent(store: Store, tenant: Any) -> None:
    store("set", key="k", value=5, ttlSeconds=3600)
    store("set", key="stays", value=1)
    expires = DataStoreEntry.objects.get(tenant=tenant, key="k").expires_at
    assert timedelta(minutes=59) < expires - timezone.now() <= timedelta(hours=1)
    assert store("get", key="k")["found"] is True
    pass_expiry(tenant, "k")
    assert store("get", key="k")["found"] is False
    assert [entry["key"] for entry in store("list")["entries"]] == ["stays"]
    assert store("delete", key="k") == {"deleted": False}


def test_new_entry_after_an_expiry_continues_the_version(store: Store, tenant: Any) -> None:
    store("set", key="k", value=5, ttlSeconds=3600)
    pass_expiry(tenant, "k")
    assert refused(store, "set", key="k", value=6, expectedVersion=1).details == {"version": None}
    assert store("set", key="k", value=6, onlyIfAbsent=True) == {"version": 2, "revision": 2, "created": True}
    assert store("get", key="k") == {"found": True, "value": 6, "version": 2, "revision": 2, "expiresAt": None}


def test_increment_keeps_the_first_expiry(store: Store, tenant: Any) -> None:
    store("increment", key="n", ttlSeconds=60)
    first = store("get", key="n")["expiresAt"]
    assert store("increment", key="n", ttlSeconds=3600)["value"] == 2
    assert store("get", key="n")["expiresAt"] == first
    pass_expiry(tenant, "n")
    assert store("increment", key="n", by=10)["value"] == 10
    assert store("get", key="n")["expiresAt"] is None


def test_expiry_can_be_a_future_time(store: Store) -> None:
    store("set", key="k", value=1, expiresAt="2999-01-01T01:00:00+01:00")
    assert store("get", key="k")["expiresAt"] == "2999-01-01T00:00:00Z"
    assert refused(store, "set", key="k", value=2, expiresAt="2001-01-01T00:00:00Z").code == "STORE_EXPIRY_PASSED"


# -- List -------------------------------------------------------------------------------------------------------------


def test_list_is_read_in_pages(store: Store) -> None:
    for number in reversed(range(7)):
        store("set", key=f"a{number}", value=number)
    store("set", key="b0", value="no")
    seen, cursor = [], None
    for length in (3, 3, 1):
        page = store("list", prefix="a", limit=3, cursor=cursor)
        assert len(page["entries"]) == length
        seen += [(entry["key"], entry["value"]) for entry in page["entries"]]
        cursor = page["nextCursor"]
    assert (seen, cursor) == ([(f"a{number}", number) for number in range(7)], None)


def test_page_that_ends_with_the_last_entry_has_no_cursor(store: Store) -> None:
    for number in range(3):
        store("set", key=f"a{number}", value=number)
    assert store("list", limit=3)["nextCursor"] is None
    assert store("list", limit=2)["nextCursor"] == "a1"


@pytest.mark.parametrize(
    ("prefix", "keys"), [("a%", ["a%b"]), ("a_", ["a_b"]), ("a.", ["a.b"]), ("b", []), ("A", ["A%b"])]
)
def test_prefix_is_literal(store: Store, prefix: str, keys: list[str]) -> None:
    for key in ("a%b", "axb", "a_b", "a.b", "A%b"):
        store("set", key=key, value=1)
    assert [entry["key"] for entry in store("list", prefix=prefix)["entries"]] == keys


def test_page_ends_below_the_limit_of_an_output(store: Store, tenant: Any) -> None:
    DataStoreEntry.objects.bulk_create(
        DataStoreEntry(tenant=tenant, key=f"{number:04}" + "ü" * 190, value="x" * (60_000 if number < 5 else 1))
        for number in range(1000)
    )
    seen, cursor, pages = [], None, 0
    while True:
        page = store("list", limit=1000, cursor=cursor)
        assert json_size(page) < 262_144
        seen += [entry["key"][:4] for entry in page["entries"]]
        cursor, pages = page["nextCursor"], pages + 1
        if cursor is None:
            break
    assert (seen, pages) == ([f"{number:04}" for number in range(1000)], 5)


def test_page_ended_by_its_size_reads_at_most_one_further_slice(
    store: Store, tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows.actions import store as module

    monkeypatch.setattr(module, "ROWS_AT_ONCE", 2)
    DataStoreEntry.objects.bulk_create(
        DataStoreEntry(tenant=tenant, key=f"{number}", value="x" * 60_000) for number in range(9)
    )
    with CaptureQueriesContext(connection) as queries:
        page = store("list", limit=1000)
    assert (len(page["entries"]), page["nextCursor"]) == (3, "2")
    reads = [query["sql"] for query in queries if "SELECT" in query["sql"] and '"key" ASC' in query["sql"]]
    assert [sql.rpartition("LIMIT ")[2] for sql in reads] == ["2", "2"]
    assert len(store("list", limit=3)["entries"]) == 3


# -- Input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "path"),
    [
        ("get", {"key": ""}, "key"), ("get", {"key": "k" * 201}, "key"), ("get", {"key": "a\x00"}, "key"),
        ("get", {"key": "k", "namespace": "_celery.call"}, "namespace"),
        ("get", {"key": "k", "namespace": "n" * 201}, "namespace"),
        ("get", {"key": "k", "also": 1}, "also"), ("set", {"key": "k"}, "value"),
        ("set", {"key": "k", "value": "\x00"}, "value"),
        ("set", {"key": "k", "value": "x" * 65_535}, "value"),
        ("set", {"key": "k", "value": 1, "ttlSeconds": 0}, "ttlSeconds"),
        ("set", {"key": "k", "value": 1, "ttlSeconds": 1e12}, "ttlSeconds"),
        ("set", {"key": "k", "value": 1, "expiresAt": "2999-01-01T00:00:00"}, "expiresAt"),
        ("set", {"key": "k", "value": 1, "ttl": 5}, "ttl"),
        ("set", {"key": "k", "value": 1, "ttlSeconds": 5, "expiresAt": "2999-01-01T00:00:00Z"}, ""),
        ("set", {"key": "k", "value": 1, "onlyIfAbsent": True, "expectedVersion": 1}, ""),
        ("increment", {"key": "k", "by": "1"}, "by"), ("increment", {"key": "k", "by": True}, "by"),
        ("list", {"limit": 1001}, "limit"), ("list", {"limit": 0}, "limit"),
    ],
)  # fmt: skip
def test_input_over_a_limit_is_refused_with_its_path(store: Store, name: str, value: dict[str, Any], path: str) -> None:
    error = refused(store, name, **value)
    assert (error.code, error.details["problems"][0]["path"].split(".")[0]) == ("ACTION_INPUT_INVALID", path)


def test_input_at_the_limits_is_accepted(store: Store) -> None:
    assert store("set", key="ü" * 200, namespace="n" * 200, value="x" * 65_534)["version"] == 1


def test_if_revision_writes_only_over_the_revision_that_was_read(store: Store) -> None:
    absent = store("get", key="k")
    written = store("set", key="k", value="first", if_revision=absent["revision"])
    assert (absent["revision"], written["revision"], written["created"]) == (0, 1, True)
    assert refused(store, "set", key="k", value="second", if_revision=0).code == "STORE_CONDITION_FAILED"
    assert store("set", key="k", value="second", ifRevision=1)["revision"] == 2
    late = refused(store, "set", key="k", value="late", if_revision=1)
    assert (late.details, store("get", key="k")["value"]) == ({"version": 2}, "second")
    assert refused(store, "delete", key="k", if_revision=1).code == "STORE_CONDITION_FAILED"
    assert store("delete", key="k", if_revision=2) == {"deleted": True}
    assert refused(store, "set", key="k", value=1, if_revision=1, only_if_absent=True).code == "ACTION_INPUT_INVALID"


def test_notes_about_missing_actions_do_not_outlive_their_runs(tenant: Any) -> None:
    ended, waiting = uuid.uuid5(uuid.NAMESPACE_URL, "ended"), uuid.uuid5(uuid.NAMESPACE_URL, "waiting")
    missing_action_note(tenant_id=tenant.id, run_id=ended, action="a.b@1")
    DataStoreEntry.objects.filter(tenant=tenant).update(expires_at=timezone.now() - timedelta(seconds=1))
    for _ in range(2):
        missing_action_note(tenant_id=tenant.id, run_id=waiting, action="a.b@1")
    assert [entry.key for entry in DataStoreEntry.objects.filter(tenant=tenant)] == [str(waiting)]
