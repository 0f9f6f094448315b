"""Run a stack of small programs as `devstack run` does: `small_stack.py HOME NAME[:KIND]... [setup:KIND] [unready]`.

`base` is the server of the stack. With `unready`, the portal of the stack is not ready within the time.
"""

import sys
from pathlib import Path

from portal.devstack import stack
from portal.devstack.child import PROJECT
from portal.devstack.errors import StackError
from portal.devstack.programs import APPS, SERVERS, Plan, Program, Step
from portal.devstack.stack import run_plan

STOP_SECONDS = 3


def program(word: str) -> Program:
    name, _, kind = word.partition(":")
    command = [sys.executable, str(Path(__file__).with_name("small_program.py")), name, *([kind] if kind else [])]
    return Program(
        name,
        SERVERS if name == "base" else APPS,
        command,
        stop_seconds=600 if kind == "stubborn" else STOP_SECONDS,
        environment={"SPECIAL": "50% of it"},
    )


# Program of the set-up step for each `setup:KIND`.
SETUP = {
    "": "print('hello from setup', end='')",
    "failing": "import sys; print('no such table'); sys.exit(3)",
    "endless": "import time; print('migrating', flush=True); time.sleep(600)",
}
home, *words = sys.argv[1:]
is_unready = "unready" in words
if is_unready:
    words.remove("unready")
    stack._READY_SECONDS = 1
setup = next((word.partition(":")[2] for word in words if word.startswith("setup")), "")
plan = Plan(
    home=Path(home),
    project=PROJECT,
    python=sys.executable,
    programs=[program(word) for word in words if not word.startswith("setup")],
    steps=[Step("greeting", [sys.executable, "-c", SETUP[setup]])],
    ready=(lambda: "it starts") if is_unready else None,
    banner=[sys.executable, "-c", "print('the banner')"],
)
try:
    sys.exit(run_plan(plan, sys.stdout))
except StackError as error:
    sys.exit(str(error))
