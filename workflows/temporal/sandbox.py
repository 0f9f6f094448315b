"""The workflow sandbox of the worker, the replayer and the tests.

The engine and the contracts are passed through the sandbox. So they are loaded once, and not once for each cached run
(1 MB of memory and 108 ms of CPU time each). import-linter, ruff and the replay tests keep them deterministic. jsonata
is listed because it imports itself inside functions.
"""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

RESTRICTIONS = SandboxRestrictions.default.with_passthrough_modules(
    "jsonata",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    # For the check of responses to human tasks against their form schemas.
    "attr",
    "attrs",
    "jsonschema",
    "jsonschema_specifications",
    "re2",
    "_re2",
    "referencing",
    "rpds",
    "workflows.engine",
    "workflows.temporal.contracts",
    "workflows.temporal.performing",
)


def workflow_runner() -> SandboxedWorkflowRunner:
    return SandboxedWorkflowRunner(restrictions=RESTRICTIONS)
