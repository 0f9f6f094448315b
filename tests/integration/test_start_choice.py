"""Page "Start a run: choose a definition" (docs/reference/screens.md#other-screens)."""

from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import make_tenant, publish, wait_for_reply
from tests.support.members import member_of
from tests.support.statements import sent_statements
from workflows.models import Definition

PAGE = "admin:workflows_definition_choose"
STATES: dict[str, dict[str, Any]] = {
    "pay-out": {"name": "Pay out"},
    "refund": {"name": "Refund of a payment"},
    "renewal": {"is_paused": True, "paused_reason": "issuer test window"},
    "draft": {"published_version": None},
    "old": {"archived_at": timezone.now()},
    "gone": {"deleted_at": timezone.now()},
}


@pytest.fixture
def definitions(tenant: Any) -> dict[str, Definition]:
    found = {}
    for key, fields in STATES.items():
        version = publish(tenant, wait_for_reply())
        Definition._base_manager.filter(id=version.definition_id).update(**{"key": key, "name": key, **fields})
        found[key] = version.definition
    publish(make_tenant(), wait_for_reply())
    return found


def test_lists_what_can_start_and_says_what_an_author_must_do_for_the_others(
    tenant: Any, definitions: dict[str, Definition]
) -> None:
    client, page = member_of(tenant), reverse(PAGE)
    for name in ("index", "workflows_run_changelist"):
        assert f'href="{page}"' in client.get(reverse(f"admin:{name}")).content.decode()
    client.get(page)
    with sent_statements() as statements:
        shown = client.get(page).content.decode()
    assert len(statements) <= 12, [sql[-160:] for sql in statements]
    assert "<h1>Start a run: choose a definition</h1>" in shown
    startable, others = shown.split("Cannot start a run now")
    for key, definition in definitions.items():
        address = reverse("admin:workflows_definition_start", args=[definition.id])
        assert (address in shown) is (key in ("pay-out", "refund")), key
    for text in ("An author must resume it.", "issuer test window", "An author must publish it."):
        assert (text in others, text in startable) == (True, False), text
    assert [f"<bdi>{key}</bdi>" in others for key in ("renewal", "draft", "old", "gone")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("query", "status", "texts"),
    [
        ("?q=PAY", 200, ["<bdi>pay-out</bdi>", "<bdi>refund</bdi>"]),
        ("?q=refund", 200, ["<bdi>refund</bdi>"]),
        ("?q=renew", 200, ["No definition that can start a run matches.", "An author must resume it."]),
        ("?q=a%00", 400, ["without the character NUL"]),
        ("?state=x", 400, ["This filter does not exist."]),
    ],
)
def test_search_compares_key_and_name(
    tenant: Any, definitions: dict[str, Definition], query: str, status: int, texts: list[str]
) -> None:
    response = member_of(tenant).get(reverse(PAGE) + query)
    shown = response.content.decode()
    assert (response.status_code, [text for text in texts if text not in shown]) == (status, [])
    assert ("<bdi>pay-out</bdi>" in shown) is (query == "?q=PAY")


def test_without_a_choice_it_says_who_must_do_what(tenant: Any) -> None:
    page = reverse(PAGE)
    assert "An author must first publish a definition" in member_of(tenant).get(page).content.decode()
    publish(tenant, wait_for_reply())
    shown = member_of(tenant, role="viewer").get(page).content.decode()
    assert "You need the role operator to start a run." in shown
    assert '/start/"' not in shown
