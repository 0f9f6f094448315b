"""The dashboard in a browser: hostile values do nothing and break no layout, wide or narrow."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.urls import reverse
from django.utils import timezone

from tests.support.browser import sign_in
from tests.support.events import open_wait
from tests.support.factories import make_run
from workflows.models import HumanTask, TenantMembership

TOO_WIDE = """() => [...document.querySelectorAll(".ui .card *")]
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
  .filter((element) => !element.closest("svg, .first, .clip"))
  .map((element) => element.outerHTML.slice(0, 100))"""
HOSTILE = "<script>window.isHacked = true</script>\u202e" + "K" * 160


@pytest.mark.parametrize("width", [390, 1440])
def test_hostile_values_do_nothing_and_keep_the_layout(page: Any, site: str, tenant: Any, width: int) -> None:
    caches["process"].clear()
    now = timezone.now()
    run = make_run(tenant, correlation_key=HOSTILE, stuck_since=now, stuck_cause=HOSTILE)
    make_run(
        tenant, correlation_key=HOSTILE, status="FAILED", started_at=now, ended_at=now, error_code="C" * 100,
        definition_version=run.definition_version,
    )  # fmt: skip
    type(run.definition).objects.filter(id=run.definition_id).update(name=HOSTILE)
    open_wait(tenant, run=run, deadline_at=now + timedelta(minutes=5), step_id="s" * 200)
    HumanTask.objects.create(
        tenant=tenant, run=run, step_path="root.steps[0]", task_type="t", title=HOSTILE, due_at=now
    )
    user = get_user_model().objects.create_user(f"viewer-{tenant.slug}-{width}", password="a long passphrase")
    TenantMembership.objects.create(tenant=tenant, user=user, role="viewer")
    sign_in(page, site, user)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{site}{reverse('admin:index')}")
    assert page.get_by_text("window.isHacked").count() > 0
    assert page.evaluate("window.isHacked") is None
    too_wide = page.evaluate(TOO_WIDE)
    assert too_wide == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
