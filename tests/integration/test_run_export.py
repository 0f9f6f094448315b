"""The export of the run list has the runs of the list, redacted, and reads them in batches.

Source: docs/reference/screens.md#run-list
"""

import csv
import io
import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import make_run
from tests.support.members import member_of
from tests.support.plans import copies
from tests.support.statements import sent_statements
from workflows.admin import run_export
from workflows.models import Tenant

pytestmark = pytest.mark.usefixtures("no_dispatcher")

LIST = "admin:workflows_run_changelist"
HOSTILE = '=HYPERLINK("x"),\n"</script>\u202e'
ERROR = {"category": "ACTION", "code": "NOT_FOUND", "message": "No payment with the card 4711", "nodePath": "root"}


def exported(client: Any, kind: str, query: str = "") -> list[dict[str, Any]]:
    response = client.get(reverse(f"admin:workflows_run_export_{kind}") + query)
    assert (response.status_code, response.streaming) == (200, True)
    assert f".{kind}" in response.headers["Content-Disposition"]
    text = b"".join(response.streaming_content).decode()
    return json.loads(text) if kind == "json" else list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_export_has_the_runs_of_the_list(tenant: Any, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(run_export, "BATCH", 7)  # the rows of several batches, some with the same time
    run = make_run(tenant, status="FAILED", correlation_key="PAY-0", error=ERROR, error_code="NOT_FOUND")
    copies(
        run, 30, temporal_workflow_id="'exported-' || n", correlation_key="'PAY-' || n",
        created_at="now() - n / 9 * interval '1 minute'",
        status="CASE WHEN n % 3 = 0 THEN 'CANCELED' ELSE 'FAILED' END", correlation_key_folded="'pay-' || n",
    )  # fmt: skip
    make_run(tenant, correlation_key="OTHER")
    make_run(Tenant.objects.create(slug=f"other-{tenant.slug}", name="Other"), status="FAILED")
    client = member_of(tenant)
    for query in ("", "?q=pay", "?status__exact=FAILED&q=PAY-&cols=state&cols=started&o=key&p=1"):
        listed = client.get(reverse(LIST) + query).context_data["rows"]
        rows = exported(client, kind, query)
        assert {row["id"] for row in rows} == {str(row.run.id) for row in listed}
        assert len(rows) == len(listed)
        assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
    assert exported(client, kind, "?q=nothing") == []
    with sent_statements() as statements:
        exported(client, kind)
    batches = [sql for sql in statements if sql.endswith("LIMIT 7")]
    assert len(batches) == 5
    assert not [sql for sql in batches if "newest_replay" in sql], "what only the list shows is not read for all runs"


def test_values_are_redacted_and_harmless(tenant: Any) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["/error/message"])
    make_run(tenant, status="FAILED", error=ERROR, error_code="NOT_FOUND", correlation_key=HOSTILE, state="-1")
    client = member_of(tenant, role="viewer")
    (row,) = exported(client, "csv")
    assert (row["correlation_key"], row["state"], row["error_code"]) == (f"'{HOSTILE}", "'-1", "NOT_FOUND")
    (value,) = exported(client, "json")
    assert value["correlation_key"] == HOSTILE
    for text in (str(row), str(value), client.get(reverse(LIST)).content.decode()):
        assert "4711" not in text
        assert "[redacted]" in text


def test_export_with_a_filter_that_cannot_be_read_goes_to_the_list(tenant: Any) -> None:
    make_run(tenant)
    client = member_of(tenant)
    response = client.get(reverse("admin:workflows_run_export_csv") + "?statu=FAILED")
    assert (response.status_code, response.url) == (302, reverse(LIST) + "?statu=FAILED")
    assert client.get(response.url).status_code == 400


def test_export_has_the_chosen_columns(tenant: Any) -> None:
    started = timezone.now() - timedelta(seconds=90)
    make_run(tenant, status="FAILED", error=ERROR, error_code="NOT_FOUND", started_at=started,
             ended_at=started + timedelta(seconds=7.5))  # fmt: skip
    client = member_of(tenant)
    page = client.get(f"{reverse(LIST)}?cols=took&cols=what").content.decode()
    assert "With the columns that you chose." in page
    address = re.search(r'href="[^"]+export\.csv([^"]*)"', page)
    assert address
    (row,) = exported(client, "csv", unescape(address[1]))
    assert list(row) == [
        "id", "version", "status", "correlation_key", "took_seconds", "error_category", "error_code", "error_message",
        "failed_step", "failed_step_path",
    ]  # fmt: skip
    assert (row["took_seconds"], row["error_code"]) == ("7.5", "NOT_FOUND")
    assert "With all columns." in client.get(reverse(LIST)).content.decode()
    (every,) = exported(client, "json")
    assert set(every) == set(run_export.FIELDS)
