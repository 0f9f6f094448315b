"""Every page is usable by everyone: axe finds nothing serious, no page is wider than the screen, the keyboard suffices.

The pages come from the access table, so a page that is added later is tested too.
Source: docs/reference/screens.md#accessibility
"""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.app_settings import PASSWORD_RESET_TOKEN_GENERATOR
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth import get_user_model
from django.urls import reverse

from tests.support.access import RANKS
from tests.support.axe import serious_findings
from tests.support.browser import TOO_WIDE, follow, member_context
from tests.support.story.places import Place, story_places
from workflows.admin.run_changelist import COLUMNS
from workflows.models import TenantMembership
from workflows.statuses import Role

MEMBERS = {Role.ADMIN: "Nora", Role.OPERATOR: "Maya", Role.VIEWER: "Vera"}
PASSWORD = "a long passphrase"
WIDTHS = (390, 768, 1180, 1920)


@pytest.fixture
def opened(site: str, browser: Any, story: Any) -> Iterator[Any]:
    """Return a function that opens a page for a member, or for a visitor, with axe loaded."""
    contexts = []

    def open_as(role: Role | None) -> Any:
        if role is None:
            size = {"width": 1440, "height": 900}
            context = browser.new_context(viewport=size, color_scheme="light", reduced_motion="reduce")
        else:
            context = member_context(browser, site, story.users[MEMBERS[role]], color_scheme="light")
        context.add_init_script(Axe().axe_script)
        contexts.append(context)
        return context.new_page()

    yield open_as
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def checked() -> set[str]:
    """Return the contents that were checked already. Most pages look the same to several roles."""
    return set()


def places_of(story: Any, role: Role) -> list[Place]:
    """Return the pages that this role may open."""
    places = story_places(story, MEMBERS[role])
    return [place for place in places if RANKS.index(role) >= RANKS.index(Role(place.needs))]


# Tokens, versions, ids, times and numbers, which differ between two requests for the same page, and the own role.
NOISE = re.compile(
    r'(?:value|data-version)="[^"]*"|Your role is \w+|<time\b.*?</time>|'
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+(?:\.\d+)?",
    re.DOTALL,
)


def content_of(page: str) -> str:
    """Return the content of a page without noise. The frame around it looks the same on each page."""
    main = re.search(r"<main\b.*</main>", page, re.DOTALL)
    assert main, "the page has no <main>"
    return NOISE.sub("", main[0])


def too_wide(page: Any, widths: tuple[int, ...] = WIDTHS) -> Iterator[str]:
    for width in widths:
        page.set_viewport_size({"width": width, "height": 900})
        if wide := page.evaluate(TOO_WIDE):
            yield f"at {width}: {wide}"
    page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", list(MEMBERS))
def test_axe_finds_nothing_serious_and_every_page_fits_the_screen(
    opened: Any, site: str, story: Any, checked: set[str], role: Role
) -> None:
    page, problems = opened(role), []
    is_first = not checked  # this role sees almost nothing that was checked already
    for place in places_of(story, role):
        # Without the browser, a page costs only its response. The first role needs no such comparison.
        loaded = page.goto(site + place.address) if is_first else page.request.get(site + place.address)
        assert loaded.status == 200, f"{place.name}: status {loaded.status}"
        content = content_of(loaded.text())
        if content not in checked:
            checked.add(content)
            if not is_first:
                page.goto(site + place.address)
            problems += problems_of(page, place.name)
    assert not problems, "\n".join(problems)


@pytest.mark.timeout(900)
def test_run_list_with_business_data_and_every_column_fits_the_screen(opened: Any, site: str, story: Any) -> None:
    page, problems = opened(Role.OPERATOR), []
    for columns in ("", "&".join(f"cols={name}" for name in COLUMNS)):
        page.goto(f"{site}{reverse('admin:workflows_run_changelist')}?definition=payment-capture&{columns}")
        assert page.locator("table.runs tbody tr").count() > 5
        problems += [f"{columns} {problem}" for problem in too_wide(page, widths=(1200, 1280, 1440))]
    assert not problems, "\n".join(problems)


@pytest.fixture
def account(story: Any) -> Any:
    """Return an account of the story's tenant that has a password and no second factor."""
    name = f"account-{uuid.uuid4().hex[:8]}"
    user = get_user_model().objects.create_user(name, password=PASSWORD)
    TenantMembership.objects.create(tenant=story.tenant, user=user, role=Role.VIEWER)
    return user


def test_pages_of_visitors_fit_the_screen_and_axe_finds_nothing_serious(
    opened: Any, site: str, account: Any, settings: Any
) -> None:
    page, problems = opened(None), []
    organisation = reverse("account_organisation")
    names = ("login", "reset_password", "reset_password_done", "reset_password_from_key_done", "organisation")
    addresses = [*(reverse(f"account_{name}") for name in names), reverse("invitation")]
    for address in (*addresses, f"{organisation}?tenant=nobody"):
        problems += problems_at(page, site, address)
    for key in (PASSWORD_RESET_TOKEN_GENERATOR().make_token(account), "not-valid"):
        link = {"uidb36": user_pk_to_url_str(account), "key": key}
        page.goto(site + reverse("account_reset_password_from_key", kwargs=link))
        problems += problems_of(page, "page of the link")
    limits = {**settings.ACCOUNT_RATE_LIMITS, "login_failed": "1/15m/key", "reset_password": "1/h/ip"}
    settings.ACCOUNT_RATE_LIMITS = limits
    for number in range(2):
        page.goto(site + reverse("account_reset_password"))
        page.fill("input[name=email]", f"{number}@example.com")
        follow(page, "button[type=submit]")
    assert "Too many requests" in page.inner_text("main")
    problems += problems_of(page, "429")
    for word in ("is wrong", "Too many failed sign-ins"):
        sign_in_as(page, site, account.username, "wrong")
        assert word in page.inner_text("main")
        problems += problems_of(page, word)
    assert not problems, "\n".join(problems)


def test_pages_of_the_own_account_fit_the_screen_and_axe_finds_nothing_serious(
    opened: Any, site: str, account: Any
) -> None:
    page, problems = opened(None), []
    sign_in_as(page, site, account.username)
    page.wait_for_url("**/admin/")
    names = ("mfa_index", "account_change_password", "account_reauthenticate", "mfa_activate_totp", "mfa_add_webauthn")
    for name in names:
        problems += problems_at(page, site, reverse(name))
    TOTP.activate(account, "JBSWY3DPEHPK3PXP")
    RecoveryCodes.activate(account)
    passkey = Authenticator.objects.create(user=account, type="webauthn", data={"name": "Laptop", "credential": {}})
    names = ("index", "reauthenticate", "deactivate_totp", "view_recovery_codes", "generate_recovery_codes")
    for address in (*(reverse(f"mfa_{name}") for name in names), reverse("mfa_remove_webauthn", args=[passkey.pk])):
        problems += problems_at(page, site, address)
    passkey.delete()
    page = opened(None)
    sign_in_as(page, site, account.username)
    page.wait_for_url("**/security/code/")
    problems += problems_of(page, "page of the code")
    assert not problems, "\n".join(problems)


def test_pages_of_accounts_fit_the_screen_and_axe_finds_nothing_serious(opened: Any, site: str, account: Any) -> None:
    """Only superusers open these pages, so the access table has them for no role."""
    page, problems = opened(None), []
    get_user_model().objects.filter(pk=account.pk).update(is_superuser=True)
    sign_in_as(page, site, account.username)
    page.wait_for_url("**/admin/")
    TOTP.activate(account, "JBSWY3DPEHPK3PXP")
    addresses = [reverse("admin:auth_user_changelist"), reverse("admin:auth_user_add")]
    for name in ("change", "password_change", "reset_factors"):
        addresses.append(reverse(f"admin:auth_user_{name}", args=[account.pk]))
    for address in addresses:
        problems += problems_at(page, site, address)
    assert not problems, "\n".join(problems)


def problems_at(page: Any, site: str, address: str) -> list[str]:
    page.goto(site + address)
    assert page.url == site + address, f"{address} leads to {page.url}"
    return problems_of(page, address)


def sign_in_as(page: Any, site: str, name: str, password: str = PASSWORD) -> None:
    page.goto(site + reverse("account_login"))
    page.fill("input[name=login]", name)
    page.fill("input[name=password]", password)
    follow(page, "button:text-is('Sign in')")


def problems_of(page: Any, name: str) -> list[str]:
    page.evaluate("document.fonts.ready")
    wide = list(too_wide(page))
    page.evaluate("for (const menu of document.querySelectorAll('main details')) menu.open = true")
    return [f"{name}, {problem}" for problem in (*wide, *serious_findings(page))]
