"""Admin screens of `workflows`. Django imports this package, and each module registers its screens."""

from workflows.admin import bulk, connectors, definitions, human_tasks, ledger, runs, schemas, secrets  # noqa: F401
