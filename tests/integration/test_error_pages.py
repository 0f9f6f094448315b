"""The pages for 400, 403 and 404 have the look of the portal and say what to do."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.support.factories import make_run
from tests.support.members import member_of


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "This page does not exist"), (403, "You may not do this"), (400, "This request cannot be read")],
)
def test_error_page_has_the_look_of_the_portal(tenant: Any, status: int, words: str) -> None:
    run = make_run(tenant)
    client = member_of(tenant)
    response = {
        404: lambda: client.get("/admin/workflows/run/<script>/change/"),
        403: lambda: client.post(
            reverse("admin:workflows_run_changelist"),
            {"action": "terminate_runs", "_selected_action": [str(run.id)], "index": "0"},
        ),
        400: lambda: client.post(
            reverse("admin:workflows_run_save_view"), {"name": "A", "idempotency_key": "not a key"}
        ),
    }[status]()
    shown = response.content.decode()
    assert (response.status_code, words in shown, "portal/design.css" in shown) == (status, True, True)
    assert "Go to the dashboard" in shown
    assert "<script>/" not in shown
    # A member has the palette also here.
    assert 'id="palette"' in shown
    assert "portal/frame.js" in shown


def test_page_for_a_visitor_has_no_palette(database: None) -> None:
    shown = Client().get(reverse("account_login")).content.decode()
    assert ('id="palette"' in shown, "portal/forms.js" in shown) == (False, True)
