"""Each page of the story needs at most 12 statements, and loads only scripts that it uses.

Source: docs/reference/screens.md#all-screens
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from tests.support.members import member_of
from tests.support.page_scripts import wrong_scripts
from tests.support.statements import sent_statements
from tests.support.story.places import story_places, story_run
from workflows.models import Definition, Incident

MOST_STATEMENTS = 12
RUN_TABS = ("graph", "input", "events", "children", "audit", "logs", "definition")


def problems_of(client: Client, addresses: dict[str, str]) -> Iterator[str]:
    """Yield the pages that send too many statements, or load a script that they do not use."""
    for name, address in addresses.items():
        client.get(address)  # the caches of the process are filled
        with sent_statements() as statements:
            response = client.get(address)
        if len(statements) > MOST_STATEMENTS:  # an entry of a cache may have expired between the two requests
            with sent_statements() as statements:
                client.get(address)
        if len(statements) > MOST_STATEMENTS:
            yield f"{name}: {len(statements)} statements"
        if response.status_code == 200 and not response.streaming:
            yield from (f"{name}: {script}" for script in wrong_scripts(response.content.decode()))


@pytest.mark.parametrize("member", ["Nora", "Maya", "Vera"])
def test_each_page_needs_few_statements_and_has_no_unused_script(story: Any, member: str) -> None:
    client = Client()
    client.force_login(story.users[member])
    pages = {place.name: place.address for place in story_places(story, member)}
    runs = {
        key: reverse("admin:workflows_run_change", args=[story_run(story, key).id]) for key in ("PAY-105", "TCK-4471")
    }
    pages |= {f"{key} {tab}": f"{address}?tab={tab}" for key, address in runs.items() for tab in RUN_TABS}
    of_payments = f"{reverse('admin:workflows_run_changelist')}?definition=payment-capture"
    filters = (
        "", "&q=PAY-1", "&status__exact=FAILED", "&version=2", "&problem=failed", "&o=data.amount",
        f"&incident={Incident.objects.filter(tenant=story.tenant).latest('run_count').number}",
    )  # fmt: skip
    pages |= {f"runs{query}": f"{of_payments}{query}" for query in filters}
    definition = Definition.objects.get(tenant=story.tenant, key="payment-capture")
    address = reverse("admin:workflows_definition_change", args=[definition.id])
    pages |= {
        f"map{query}": f"{address}?{query}"
        for query in ("version=2", "version=2&heat=time", "period=7d", "version=all")
    }
    assert len(pages) > 80
    assert not list(problems_of(client, pages))


def test_each_page_of_accounts_and_of_errors_needs_few_statements(story: Any) -> None:
    """Only superusers open the pages of accounts, so the access table has them for no role."""
    client = member_of(story.tenant, role="admin", superuser=True)
    other = get_user_model().objects.get(username="maya").pk
    names = ("change", "password_change", "reset_factors")
    pages = {name: reverse(f"admin:auth_user_{name}", args=[other]) for name in names}
    pages |= {name: reverse(f"admin:auth_user_{name}") for name in ("changelist", "add")}
    pages |= {"all tenants": reverse("admin:workflows_tenant_changelist"), "security": reverse("mfa_index")}
    pages |= {"not found": "/admin/nothing/", "password": reverse("account_change_password")}
    assert not list(problems_of(client, pages))
