"""An invitation in a real browser: the script of the page sends the code behind the `#` of the link."""

import re
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.test import override_settings
from django.utils import timezone

from tests.support.api import Api
from tests.support.browser import TOO_WIDE, follow, member_context
from tests.support.factories import make_token
from tests.support.mail_server import mail_server
from tests.support.members import member_of
from workflows.models import Invitation, TenantMembership
from workflows.statuses import Role


def invited(site: str, tenant: Any, settings: Any) -> str:
    """Invite a person, and return the link of the e-mail."""
    with mail_server(settings) as mailbox, override_settings(PUBLIC_URL=site):
        made = Api(make_token(tenant, Role.ADMIN)).post("/invitations", {"email": "a@example.org", "role": "author"})
        assert made.status_code == 201
    found = re.search(r"http\S+/invitation#\S+", mailbox.text())
    assert found is not None
    return found[0]


def test_expired_invitation_says_what_to_do_and_has_no_form(
    browser: Any, site: str, tenant: Any, settings: Any
) -> None:
    link = invited(site, tenant, settings)
    Invitation.objects.filter(tenant=tenant).update(expires_at=timezone.now() - timedelta(seconds=1))
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(link)
    page.wait_for_selector("text=The invitation has expired")
    assert (page.url, page.query_selector("input[name=username]")) == (f"{site}/invitation", None)
    assert "Ask" in page.inner_text("main")
    assert page.evaluate(TOO_WIDE) == []


def test_invited_person_joins_and_signs_in(browser: Any, site: str, tenant: Any, settings: Any) -> None:
    page = browser.new_context(viewport={"width": 390, "height": 844}, timezone_id="Asia/Tokyo").new_page()
    page.goto(invited(site, tenant, settings))
    page.wait_for_selector("input[name=username]")
    assert " JST" in page.inner_text("main")
    assert page.url == f"{site}/invitation"  # the code is not in the address any more
    assert page.evaluate(TOO_WIDE) == []
    name = f"anna-{tenant.slug}"
    page.fill("input[name=username]", name)
    page.fill("input[name=password1]", "a long enough phrase")
    page.fill("input[name=password2]", "a long enough phrase")
    follow(page, "button:text-is('Create the account and join')")
    follow(page, "text=Sign in >> nth=-1")
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", "a long enough phrase")
    follow(page, "button:text-is('Sign in')")
    assert page.url == f"{site}/admin/"
    assert "times in JST" in page.inner_text("main")  # the first page after the sign-in
    assert TenantMembership.objects.get(tenant=tenant, user__username=name).role == "author"
    for listing in ("tenant", "tenantmembership", "invitation"):
        user = get_user_model().objects.get(pk=member_of(tenant, role="admin", superuser=True).session["_auth_user_id"])
        shown = member_context(browser, site, user, width=390).new_page()
        shown.goto(f"{site}/admin/workflows/{listing}/")
        assert shown.evaluate(TOO_WIDE) == [], listing
