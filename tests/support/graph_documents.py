"""Definition documents for the tests of the graph: real ones, hostile ones, and ones that are not valid."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.foreign_bundle import KINDS, foreign_bundle
from tests.support.history_cases import CASES

ROOT = Path(__file__).parents[2]
BUNDLES = ROOT / "portal" / "demo" / "bundles"
EXAMPLES = ROOT / "workflows" / "services" / "definitions" / "example_documents"
TRUE = {"$expr": "true"}


def work(step_id: str = "work", **more: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "state.set", "config": {"state": "X"}, **more}


def branch(name: str, then: Any, otherwise: Any = None) -> dict[str, Any]:
    return {"id": name, "type": "control.if", "condition": TRUE, "then": then, "else": otherwise}


def loop(name: str, *body: Any) -> dict[str, Any]:
    return {"id": name, "type": "control.forEach", "items": {"$expr": "[1, 2]"}, "itemVar": "row", "body": list(body)}


def attempt(name: str, steps: Any, catch: Any) -> dict[str, Any]:
    return {"id": name, "type": "control.tryCatch", "try": steps, "catch": catch}


END = {"id": "end", "type": "control.return"}
LONG = "A name of two hundred characters " * 7


def deep(levels: int) -> dict[str, Any]:
    step = work("bottom")
    for level in range(levels):
        step = branch(f"level {level}", [step])
    return step


MADE: dict[str, Any] = {
    "empty": {"steps": []},
    "no-steps-field": {},
    "not-json": None,
    "not-an-object": [1, 2],
    "steps-not-a-list": {"steps": "abc"},
    "steps-of-wrong-types": {"steps": [3, None, {}, {"type": ["x"]}, {"id": "a", "type": "teleport.now", "then": []}]},
    "blocks-not-lists": {"steps": [branch("b", 4, {}), loop("l"), {"type": "control.tryCatch", "try": "x"}]},
    "configs-of-wrong-types": {
        "trigger": "x",
        "steps": [{"type": kind, "config": 7} for kind in ("event.wait", "time.wait", "human.task", "action.call")],
    },
    "empty-blocks": {"steps": [branch("b", [], []), loop("l"), attempt("t", [], [])]},
    "hostile-names": {
        "trigger": {"type": "event", "eventName": "<script>alert(1)</script>"},
        "steps": [work(name="<script>alert(1)</script>"), work(name="pay\u202egnp.exe"), work(name=LONG[:200]),
                  loop("\u202e" + "x" * 199, work(name="汉" * 200))],
    },
    "returns": {"steps": [branch("b", [END], [branch("c", [END], [END])]), work("never")]},
    "return-last": {"steps": [work(), END]},
    "return-in-one-side": {"steps": [branch("b", [work(), END], [work()]), work("after")]},
    "nested-everything": {
        "steps": [loop("outer", attempt("try", [branch("b", [loop("inner", work())], [work(), work("c")])], [work()]))]
    },
    "try-of-frames": {"steps": [attempt("t", [loop("l", work()), work()], [attempt("u", [work()], [work()])])]},
    "unequal-sides": {"steps": [branch("b", [work(str(n)) for n in range(5)], [work()]), branch("c", [work()])]},
    "twenty-levels": {"steps": [deep(19)]},
    "too-deep": {"steps": [deep(24)]},
    "too-many": {"steps": [work(f"s{number}") for number in range(2_010)]},
}  # fmt: skip
# The picture of thousands of steps is checked, but its golden file would only be long.
WITHOUT_GOLDEN = frozenset({"too-many"})


def documents() -> Iterator[tuple[str, Any]]:
    """Yield name and document."""
    yield from ((f"made-{name}", document) for name, document in MADE.items())
    for path in sorted(EXAMPLES.glob("*.json")):
        yield f"example-{path.stem}", json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(BUNDLES.glob("*.json")):
        for workflow in json.loads(path.read_text(encoding="utf-8"))["workflows"]:
            yield f"demo-{workflow['key']}", workflow["publishedVersions"][-1]["definition"]
    for workflow in foreign_bundle()[0]["workflows"][: len(KINDS)]:
        yield f"foreign-{workflow['key']}", workflow["publishedVersions"][-1]["definition"]
    yield from ((f"history-{case.name}", {"id": case.name, "steps": case.steps}) for case in CASES)
