"""The one sandbox of worker, replayer and tests.

Our engine and contracts are passed through: loaded once instead of once per cached run (1 MB and 108 ms CPU each). Their
purity rests on import-linter, ruff and the replay tests. jsonata imports itself inside functions, so it is named too.
"""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

RESTRICTIONS = SandboxRestrictions.default.with_passthrough_modules(
    "jsonata",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    # What checks the forms of human tasks.
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
