"""Speed of expressions, and the cost of hostile expressions.

    python -m benchmarks.expressions              compared with the library and, if Node is installed, the reference
    python -m benchmarks.expressions --hostile    CPU time and peak memory of every hostile source

The reference is the npm package `jsonata`. The variable POINTSMAN_JSONATA names a folder in which the package is
installed (`npm install jsonata@2`). If the variable is not set, npm installs the package into a temporary folder.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonata.jsonata import Jsonata

from tests.unit.expressions import hostile
from workflows.engine.expressions import contract
from workflows.engine.expressions.contract import ExpressionError, compile_expression

SOURCES = {
    "path": "payload.ticket.id",
    "path through a list": "payload.ticket.notes.by",
    "equality and ternary": "payload.ticket.status = 'open' ? 'yes' : 'no'",
    "concatenation": "'Ticket ' & payload.ticket.id & ' of ' & vars.name",
    "arithmetic": "payload.ticket.priority * 2 + 1 > 6 and payload.ticket.vip",
    "object": "{'id': payload.ticket.id, 'name': vars.name, 'tags': payload.ticket.tags}",
    "predicate": "payload.ticket.notes[id = 20].text",
    "order by": "payload.ticket.notes^(>id)[0].text",
    "group by": "payload.ticket.notes{by: text}",
    "list of objects": "payload.ticket.notes.{'id': id, 'text': text}",
}

SCOPE: dict[str, Any] = {
    "payload": {
        "ticket": {
            "id": "T-1042",
            "status": "open",
            "priority": 3,
            "vip": True,
            "tags": ["billing", "urgent"],
            "notes": [
                {"id": number, "by": f"user-{number % 5}", "text": f"Note {number}: the customer called again about it"}
                for number in range(42)
            ],
        }
    },
    "vars": {"name": "Zoe", "count": 2},
    "meta": {"state": "OPEN"},
    "error": None,
}

_NODE = """
const jsonata = require(process.argv[1]);
const { sources, scope } = JSON.parse(require('fs').readFileSync(0));
(async () => {
  for (const source of sources) {
    const expression = jsonata(source);
    let best = Infinity;
    for (let round = 0; round < 12; round++) {
      const start = process.hrtime.bigint();
      for (let i = 0; i < 1500; i++) await expression.evaluate(scope);
      best = Math.min(best, Number(process.hrtime.bigint() - start) / 1500 / 1000);
    }
    console.log(best);
  }
})();
"""


def best_of(work: Callable[[], Any], rounds: int = 12, seconds: float = 0.03) -> float:
    """Return the time of one call in the fastest round. Units: microseconds."""
    start = time.perf_counter()
    work()
    repeats = max(1, int(seconds / max(time.perf_counter() - start, 1e-7)))
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        best = min(best, (time.perf_counter() - start) / repeats)
    return best * 1e6


def contract_time(source: str) -> float:
    expression = compile_expression(source)
    return best_of(lambda: expression.evaluate(SCOPE, now_ms=0))


def library_time(source: str, validate: bool) -> float:
    expression = Jsonata(source)
    expression.set_validate_input(validate)
    return best_of(lambda: expression.evaluate(SCOPE, {}))


def node_times() -> list[float] | None:
    """Return the times of the reference, or None if Node or the package is missing. Units: microseconds."""
    if shutil.which("node") is None:
        return None
    named = os.environ.get("POINTSMAN_JSONATA")
    if named:
        return _node_times(Path(named))
    if shutil.which("npm") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="pointsman-jsonata-") as folder:
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, "jsonata@2"]
        if subprocess.run(install, capture_output=True, check=False).returncode != 0:
            return None
        return _node_times(Path(folder))


def _node_times(folder: Path) -> list[float] | None:
    package = folder / "node_modules" / "jsonata"
    if not package.exists():
        sys.stderr.write(f"The folder {folder} contains no jsonata package. Run `npm install jsonata@2` in it.\n")
        return None
    request = json.dumps({"sources": list(SOURCES.values()), "scope": SCOPE})
    run = subprocess.run(["node", "-e", _NODE, str(package)], input=request, capture_output=True, text=True, check=True)
    return [float(line) for line in run.stdout.split()]


def speed() -> None:
    """Print the table of speeds."""
    print(f"Scope of {len(json.dumps(SCOPE))} characters. Microseconds per evaluation, best of 12 rounds.")
    reference = node_times()
    print(
        f"{'source':22}{'contract':>10}{'library':>10}{'unchecked':>11}{'node':>9}{'contract/node':>15}"
        f"{'contract/library':>18}"
    )
    for index, (name, source) in enumerate(SOURCES.items()):
        ours, library, unchecked = contract_time(source), library_time(source, True), library_time(source, False)
        node = reference[index] if reference else float("nan")
        print(
            f"{name:22}{ours:10.2f}{library:10.2f}{unchecked:11.2f}{node:9.2f}"
            f"{ours / node:15.2f}{ours / min(library, unchecked):18.2f}"
        )
    source = SOURCES["equality and ternary"]
    print(f"compile, first time    {best_of(lambda: contract._compiled(source)):10.2f}")
    print(f"compile, repeated      {best_of(lambda: compile_expression(source)):10.2f}")
    print(f"library, compile       {best_of(lambda: Jsonata(source)):10.2f}")


def _cost(case: hostile.Hostile, scope: dict[str, Any]) -> tuple[float, float, str]:
    """Return CPU time (ms), peak memory (MB) and result of one case, including its compilation."""

    def run() -> str:
        contract._cache = contract._Cache(0)
        try:
            compile_expression(case.source).evaluate(scope, now_ms=0)
        except ExpressionError as error:
            return error.code
        return "value"

    gc.collect()
    start = time.process_time()
    result = run()
    elapsed = (time.process_time() - start) * 1000
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return elapsed, peak, result


def hostility() -> None:
    """Print the cost of each hostile source, the most expensive first, and the maximum."""
    scopes = hostile.scopes()
    rows = sorted(((*_cost(case, scopes[case.scope]), case.name) for case in hostile.corpus()), reverse=True)
    print(f"{'CPU ms':>8}{'peak MB':>9}  {'result':32}source")
    for elapsed, peak, result, name in rows:
        print(f"{elapsed:8.1f}{peak:9.1f}  {result:32}{name}")
    print(f"{len(rows)} sources: at most {rows[0][0]:.1f} ms CPU and {max(row[1] for row in rows):.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Benchmark of the expression contract.")
    parser.add_argument("--hostile", action="store_true", help="measure the hostile sources")
    hostility() if parser.parse_args().hostile else speed()


if __name__ == "__main__":
    main()
