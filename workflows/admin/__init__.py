"""Admin screens of `workflows`. Django discovers this package; each module registers its own."""

from workflows.admin import definitions, ledger, runs, tasks  # noqa: F401
