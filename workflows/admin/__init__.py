"""Admin screens of `workflows`. Django discovers this package; each module registers its own."""

from workflows.admin import bulk, definitions, ledger, runs, schemas, secrets, tasks  # noqa: F401
