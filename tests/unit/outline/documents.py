"""Definitions and step rows for the tests of the outline."""

from collections.abc import Mapping
from typing import Any

from workflows.engine.definition import Definition, canonical_text, parse_definition
from workflows.outline.nodes import Node, nodes_of
from workflows.outline.states import StepFacts

TRUE = {"$expr": "true"}


def work(name: str) -> dict[str, Any]:
    return {"id": name, "type": "state.set", "config": {"state": name}}


def branch(name: str, *then: dict[str, Any], otherwise: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"id": name, "type": "control.if", "condition": TRUE, "then": list(then), "else": otherwise or []}


def loop(name: str, *body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": "control.forEach", "items": TRUE, "itemVar": "x", "body": list(body), **fields}


def attempt(name: str, *steps: dict[str, Any], catch: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": name, "type": "control.tryCatch", "try": list(steps), "catch": catch}


def definition_of(*steps: dict[str, Any]) -> Definition:
    return parse_definition(canonical_text({"id": "d", "version": 1, "steps": list(steps)}))


def by_id(definition: Definition) -> dict[str, Node]:
    return {node.step.id: node for node in nodes_of(definition)}


def facts_by_path(definition: Definition, facts: Mapping[str, StepFacts]) -> dict[str, StepFacts]:
    nodes = by_id(definition)
    return {nodes[name].path: fact for name, fact in facts.items()}
