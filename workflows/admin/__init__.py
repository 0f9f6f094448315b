"""Admin screens of `workflows`. Django discovers this package; each module registers its own."""

from workflows.admin import bulk, definitions, human_tasks, ledger, runs, schemas, secrets  # noqa: F401
