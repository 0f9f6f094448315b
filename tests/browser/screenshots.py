"""Pictures of the screens for the documentation (`make screenshots`).

Pytest does not collect this file with the tests.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from PIL import Image

from portal.celery_workers import sweep_record, worker_record
from tests.support.browser import member_context
from tests.support.story.people import Desk
from tests.support.story.places import story_ids, story_run
from workflows.models import HumanTask
from workflows.services.schedules.reconcile import schedules_reconcile

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
# Suffix of the file name, width, height and theme. Wide pictures show what is above the fold.
SHAPES = (("", 1440, 900, "light"), ("-dark", 1440, 900, "dark"), ("-phone", 390, 844, "light"))
COLOURS = 255
MOST_BYTES = 150_000


def addresses(desk: Desk) -> dict[str, str]:
    """Return the address of each picture."""

    def admin(name: str, *args: Any) -> str:
        return reverse(f"admin:{name}", args=args)

    ids = story_ids(desk)
    decision = HumanTask.objects.get(tenant=desk.tenant, task_type="action.decide_outcome")
    runs = {"run": "PAY-105", "run-waiting": "TCK-4471", "run-retrying": "SET-1124", "run-canceled": "PAY-094"}
    return {
        "dashboard": admin("index"),
        "next": admin("next"),
        "health": admin("health"),
        "runs": admin("workflows_run_changelist"),
        **{name: admin("workflows_run_change", story_run(desk, key).id) for name, key in runs.items()},
        "run-graph": f"{admin('workflows_run_change', story_run(desk, 'PAY-105').id)}?tab=graph",
        "incidents": admin("workflows_incident_changelist"),
        "incident": admin("workflows_incident_change", ids["incident"]),
        "events": admin("workflows_event_changelist"),
        "event": admin("workflows_event_change", ids["event"]),
        "dead-letters": admin("workflows_eventdelivery_changelist"),
        "tasks": admin("workflows_humantask_changelist"),
        "task": admin("workflows_humantask_change", ids["task"]),
        "task-decide": admin("workflows_humantask_change", decision.id),
        "definitions": admin("workflows_definition_changelist"),
        "definition": f"{admin('workflows_definition_change', ids['definition'])}?version=2",
        "bulk-job": admin("workflows_bulkjob_change", ids["bulk_job"]),
        "ledger": admin("workflows_command_changelist"),
    }


def administration(desk: Desk) -> dict[str, str]:
    """Return the address of each picture of a page for administrators."""
    lists = {
        "members": "tenantmembership",
        "invitations": "invitation",
        "tokens": "apitoken",
        "identity-providers": "identityprovider",
        "sign-ins": "signinrecord",
    }
    return {
        **{name: reverse(f"admin:workflows_{model}_changelist") for name, model in lists.items()},
        "tenant": reverse("admin:workflows_tenant_change", args=[desk.tenant.id]),
        "sign-in-rules": reverse("admin:sign_in_rules"),
        "retention": reverse("admin:retention"),
        "security": "/account/security/",
    }


@pytest.mark.usefixtures("temporal_worker", "no_dispatcher")  # without a worker, the pictures would show an alarm
@pytest.mark.parametrize(("suffix", "width", "height", "theme"), SHAPES)
def test_take(site: str, browser: Any, story: Desk, suffix: str, width: int, height: int, theme: str) -> None:
    shape = {"width": width, "height": height, "color_scheme": theme, "timezone_id": "Europe/Berlin"}
    FOLDER.mkdir(exist_ok=True)
    schedules_reconcile(tenant_id=story.tenant.id, budget_seconds=None)
    for person, places in (("Maya", addresses(story)), ("Nora", administration(story))):
        context = member_context(browser, site, story.users[person], **shape)
        page = context.new_page()
        record_life()
        page.goto(f"{site}/admin/")  # this page writes the cookie with the time zone
        for name, address in places.items():
            record_life()
            take(page, site + address, FOLDER / f"{name}{suffix}.png")
        context.close()
    visitor = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
    take(visitor.new_page(), f"{site}/account/login/", FOLDER / f"sign-in{suffix}.png")
    visitor.close()


def record_life() -> None:
    """Record a Celery worker and a sweep, as a running portal does it. Otherwise the pictures would show warnings."""
    worker_record("celery@desk")
    sweep_record()


def take(page: Any, address: str, file: Path) -> None:
    answer = page.goto(address, wait_until="load")
    assert answer.status == 200, f"{address}: {answer.status}"
    page.evaluate("document.fonts.ready")
    file.write_bytes(small(page.screenshot(animations="disabled")))
    assert file.stat().st_size <= MOST_BYTES, f"{file.name} has {file.stat().st_size} bytes"


def small(png: bytes) -> bytes:
    """Return the picture with few colours, so that the repository stays small."""
    made = BytesIO()
    picture = (
        Image.open(BytesIO(png))
        .convert("RGB")
        .quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    )
    picture.save(made, "PNG", optimize=True)
    return made.getvalue()
