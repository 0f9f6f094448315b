"""Expression vectors, which must pass with every hash seed and stack depth, and the command that runs them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workflows.engine.expressions import vectors

FILE = Path(__file__).with_name("vectors.json")
# The 38 cases with another value under contract version 1, where every number is a double: value by case number.
CONTRACT_1 = Path(__file__).with_name("vectors_contract_1.json")
ROOT = Path(__file__).parents[3]

# Evaluates every vector with a given number of free frames on the stack, and prints every outcome in full.
_OUTCOMES = """
import json, sys
from workflows.engine.expressions.vectors import outcome

def deeper(levels, work):
    return deeper(levels - 1, work) if levels else work()

def outcomes():
    document = json.load(open(sys.argv[1], encoding="utf-8"))
    for case in document["cases"]:
        result = outcome(case["expr"], document["contexts"][case["ctx"]])
        error = result.pop("error", None)
        if error is not None:
            result.update(code=error.code, position=error.position, message=error.message, hint=error.suggestion)
        print(json.dumps(result))

# The library raises the recursion limit on import, so the depth is counted down from the limit.
deeper(sys.getrecursionlimit() - int(sys.argv[2]), outcomes)
"""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return loaded


def test_all_vectors_pass(document: dict[str, Any]) -> None:
    assert len(document["cases"]) == 3521
    assert list(vectors.failures(document)) == []


def test_all_vectors_pass_under_the_first_contract(document: dict[str, Any]) -> None:
    changed = json.loads(CONTRACT_1.read_text(encoding="utf-8"))
    cases = [
        {**case, "value": changed.get(str(number), case.get("value"))} for number, case in enumerate(document["cases"])
    ]
    assert len(changed) == 38
    assert list(vectors.failures({**document, "cases": cases}, version=1)) == []


def _outcomes(hash_seed: str, room: int) -> str:
    run = subprocess.run(
        [sys.executable, "-c", _OUTCOMES, str(FILE), str(room)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


def test_hash_seed_and_stack_depth_change_nothing() -> None:
    usual = _outcomes("0", 900)
    assert usual.count("\n") == 3521
    assert _outcomes("4242", 40) == usual


def test_nearly_full_stack_changes_nothing(with_room: Callable[..., Any]) -> None:
    source = "[" * 150 + "payload.b" + "]" * 150
    scope = {"payload": {"b": [1, 2]}}
    assert with_room(60, lambda: vectors.outcome(source, scope)) == vectors.outcome(source, scope)
    assert vectors.outcome(source, scope)["ok"]


def test_command_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert vectors.main([str(FILE)]) == 0
    assert capsys.readouterr().out == "3521 passed, 0 failed\n"


def test_command_shows_each_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [
        {"expr": "1 + 1", "ctx": 0, "ok": True, "value": 2},
        {"expr": "a", "ctx": 0, "ok": True, "value": 2},
        {"expr": "true", "ctx": 0, "ok": True, "value": 1},
        {"expr": "b", "ctx": 0, "ok": False, "stage": "evaluate", "reason": "runtime"},
        {"expr": "$sum(a)", "ctx": 0, "ok": False, "stage": "evaluate", "reason": "disallowed_function"},
        {"expr": "{'a': 1, 'b': 2}", "ctx": 0, "ok": True, "value": {"b": 2, "a": 1}},
    ]
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps({"contexts": [{"a": 1}], "cases": cases}), encoding="utf-8")
    assert vectors.main([str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "case 1 (context 0): a"
    assert "expected 2" in lines[1]
    assert "got      1" in lines[2]
    assert lines[-1] == "1 passed, 5 failed"


def test_command_needs_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert vectors.main([]) == 2
    assert "usage" in capsys.readouterr().err
