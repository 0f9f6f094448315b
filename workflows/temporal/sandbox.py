"""The workflow sandbox of the worker, the replayer and the tests.

The engine and the contracts are passed through the sandbox. So they are loaded once. Otherwise each cached run would
load them again, at 1 MB of memory and 108 ms of CPU time. import-linter, ruff and the replay tests ensure that the
engine stays deterministic. jsonata is listed because its functions import it again.
"""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

RESTRICTIONS = SandboxRestrictions.default.with_passthrough_modules(
    "jsonata",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    # Needed to check responses to human tasks against their form schemas.
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
    "workflows.temporal.messages",
    "workflows.temporal.performing",
)


def workflow_runner() -> SandboxedWorkflowRunner:
    return SandboxedWorkflowRunner(restrictions=RESTRICTIONS)
