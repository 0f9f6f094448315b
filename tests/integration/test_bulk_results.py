"""Results of a bulk job: the order of its rows, the sentence, and the index behind the pages.

Source: docs/operators.md#many-runs-at-once
"""

import re
from typing import Any

import pytest
from django.urls import reverse

from tests.support.bulk_jobs import accept_starts, complete_job, end_replays, preview_job
from tests.support.factories import make_actor, make_run
from tests.support.members import member_of
from workflows.admin.bulk_results import result_mark
from workflows.services.bulk.jobs import bulk_start
from workflows.statuses import BulkOutcome, CommandAction

REPLAY, CANCEL = CommandAction.REPLAY, CommandAction.CANCEL


@pytest.mark.usefixtures("no_dispatcher")
def test_failures_are_first_on_the_pages_of_a_job(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    accept_starts(monkeypatch)
    runs = [make_run(tenant, status="FAILED", correlation_key=f"K-{n}") for n in range(6)]
    job = preview_job(tenant, REPLAY, ids=[run.id for run in runs])
    bulk_start(actor=make_actor(tenant), job_id=job.id)
    end_replays(complete_job(job), "SUCCEEDED", "RUNNING", "FAILED", "SUCCEEDED", "CANCELED", "TIMED_OUT")
    monkeypatch.setattr("workflows.admin.bulk_page.SHOWN_ITEMS", 2)
    client, page = member_of(tenant), reverse("admin:workflows_bulkjob_change", args=[job.id])
    shown, query = [], "?"
    while query:
        text = client.get(f"{page}{query}").content.decode()
        shown.append(re.findall(r"<bdi>\S+ (K-\d)</bdi>", text))
        following = re.search(r'href="([^"]*after=[^"]*)">Next', text)
        query = following[1].replace("&amp;", "&") if following else ""
    assert shown == [["K-2", "K-5"], ["K-1", "K-4"], ["K-0", "K-3"]]


@pytest.mark.parametrize(
    ("action", "counts", "sentence", "tone"),
    [
        (REPLAY, {"succeeded": 41}, "41 of 41 succeeded", "green"),
        (REPLAY, {"succeeded": 35, "failed": 6, "left_out": 4}, "35 of 41 succeeded, 6 failed", "red"),
        (REPLAY, {"succeeded": 35, "open": 6}, "35 of 41 succeeded, 6 open", "blue"),
        (
            REPLAY,
            {"refused": 1, "open": 1, "pending": 2},
            "0 of 4 succeeded, 1 refused, 1 open, 2 not requested yet",
            "amber",
        ),
        (REPLAY, {"succeeded": 1, "not_requested": 2}, "1 of 3 succeeded, 2 not requested", "grey"),
        (CANCEL, {"canceled": 2, "open": 1}, "2 of 3 canceled, 1 requested, still open", "blue"),
        (CommandAction.TERMINATE, {"canceled": 2, "ended": 1}, "2 of 3 terminated, 1 ended by itself", "grey"),
        (REPLAY, {}, "0 of 0 succeeded", "grey"),
    ],
)
def test_result_begins_with_the_wanted_outcome_and_has_the_tone_of_the_worst(
    action: CommandAction, counts: dict[str, int], sentence: str, tone: str
) -> None:
    mark = result_mark(action, dict.fromkeys(BulkOutcome.values, 0) | counts)
    assert (mark.word, mark.tone) == (sentence, tone)
