"""Admin screens of `workflows`. Django imports this package, and each module registers its screens."""

from workflows.admin import bulk, definitions, human_tasks, ledger, runs, schemas, secrets  # noqa: F401
