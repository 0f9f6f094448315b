"""Graph on the page of a definition and in the editor of its draft (docs/reference/screens.md#graph)."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.support.factories import make_definition, publish
from tests.support.graph_documents import MADE, attempt, branch, loop, work
from tests.support.members import member_of
from workflows.models import Definition

HOSTILE = make_definition(
    work("a", name="<script>alert(1)</script>"), work("b", name="pay\u202egnp.exe"), work("c", name="n" * 200)
)


@pytest.fixture
def author(tenant: Any) -> Client:
    return member_of(tenant, role="author")


def draft_of(tenant: Any, document: Any) -> Definition:
    return Definition.objects.create(
        tenant=tenant, key="flow", name="Flow", draft_text=json.dumps(document), draft_version=1
    )


def page_of(definition: Definition, name: str = "change") -> str:
    return reverse(f"admin:workflows_definition_{name}", args=[definition.id])


def test_viewer_sees_the_graph_of_the_published_version(tenant: Any) -> None:
    version = publish(
        tenant, work("first", name="Mark it"), branch("if", [work("yes")], [loop("each", work("in"))]),
        attempt("try", [work("risky")], [work("saved")]),
    )  # fmt: skip
    shown = member_of(tenant, role="viewer").get(page_of(version.definition)).content.decode()
    assert shown.count('class="nd ') == 6
    assert shown.count('class="fl ') == 2
    assert 'aria-label="Mark it, X"' in shown
    assert 'href="#step-1"' in shown
    assert 'id="step-1"' in shown


@pytest.mark.parametrize("name", sorted(MADE))
def test_page_and_editor_of_every_draft_show_a_graph(tenant: Any, author: Client, name: str) -> None:
    document = MADE[name] if isinstance(MADE[name], dict) else {}
    definition = draft_of(tenant, document)
    for page in ("change", "draft"):
        shown = author.get(page_of(definition, page)).content.decode()
        assert 'class="nd ' in shown
        assert "<script>alert(1)</script>" not in shown


def test_hostile_names_stay_text(tenant: Any, author: Client) -> None:
    shown = author.get(page_of(draft_of(tenant, HOSTILE))).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script>alert" not in shown
    assert "<bdi>pay\u202egnp.exe</bdi>" in shown
    assert f'aria-label="{"n" * 200}, X"' in shown


def test_graph_of_the_editor_follows_the_text_and_counts_its_problems(tenant: Any, author: Client) -> None:
    definition = draft_of(tenant, make_definition(work("old")))
    body = {"draft_version": "1", "check": "yes"}
    text = json.dumps(make_definition(work("new"), {"id": "bad", "type": "teleport.now"}))
    shown = author.post(page_of(definition, "draft"), {**body, "document": text}).content.decode()
    assert 'aria-label="new, X"' in shown
    assert "unknown type teleport.now, 1 error" in shown
    broken = author.post(page_of(definition, "draft"), {**body, "document": "{"}).content.decode()
    assert "not JSON yet: no graph" in broken
