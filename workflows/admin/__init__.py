"""Admin screens of `workflows`. Django imports this package, and each module registers its screens."""

from workflows.admin import (  # noqa: F401
    bulk,
    connectors,
    definitions,
    human_tasks,
    identity_providers,
    incidents,
    invitations,
    ledger,
    members,
    runs,
    schedules,
    schemas,
    secrets,
    sign_ins,
    tenants,
    tokens,
)
