"""The pages for 400, 403, 404 and 500 have the look of the portal and say what to do."""

from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse

from portal.urls import server_error
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
    assert 'id="navigation"' in shown, "a member keeps the navigation"
    assert shown.count("<h1>") == 1


def test_page_for_a_visitor_has_no_palette(database: None) -> None:
    shown = Client().get(reverse("account_login")).content.decode()
    assert ('id="palette"' in shown, "portal/forms.js" in shown) == (False, True)


def test_visitor_sees_an_error_page_without_the_navigation() -> None:
    response = Client().get("/nothing")
    shown = response.content.decode()
    assert (response.status_code, "This page does not exist" in shown) == (404, True)
    assert 'id="navigation"' not in shown


def test_form_of_an_older_session_and_an_error_of_the_portal_have_the_look_of_the_portal(tenant: Any) -> None:
    client = member_of(tenant)
    client.handler.enforce_csrf_checks = True
    old = client.post(reverse("admin:workflows_run_changelist"), {"action": "cancel_runs"})
    failed = server_error(RequestFactory().get("/admin/"))
    for response, status, words in ((old, 403, "This form is too old"), (failed, 500, "could not show this page")):
        shown = response.content.decode()
        assert (response.status_code, words in shown, "portal/design.css" in shown) == (status, True, True)
