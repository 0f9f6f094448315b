"""Sweeps of the reconciler that look only at the runs and commands of one tenant."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.models import QuerySet

from workflows.models import Command, Run
from workflows.services import command_reconcile
from workflows.services.runs import reconcile_sweep

_Source = Callable[..., Iterator[uuid.UUID]]


def sweep_only(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps compare the runs, and decide the commands, of this tenant only. They still search in all tenants.

    Other tests leave hundreds of open runs and commands. Without this function, a sweep asks Temporal about all of
    them, and its batch or its time can end before it reaches the rows of the test.
    """

    def own_runs(source: _Source) -> _Source:
        def candidates(*args: Any, **kwargs: Any) -> Iterator[uuid.UUID]:
            for run_id in source(*args, **kwargs):
                if Run.objects.filter(id=run_id, tenant=tenant).exists():
                    yield run_id

        return candidates

    for name in ("changed_runs", "walked_runs"):
        monkeypatch.setattr(reconcile_sweep, name, own_runs(getattr(reconcile_sweep, name)))
    all_commands = command_reconcile.open_commands

    def own_commands() -> QuerySet[Command]:
        return all_commands().filter(tenant=tenant)

    monkeypatch.setattr(command_reconcile, "open_commands", own_commands)
