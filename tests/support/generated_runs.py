"""Hypothesis settings and simulation for generated definitions."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from hypothesis import HealthCheck, settings

from tests.unit.engine.generated_definitions import Case
from workflows.engine.simulate import Simulation, simulate

RUN_ID = "0192f0c4-0000-7000-8000-000000000001"


TENANT_ID = str(uuid.UUID(int=1))


START_MS = 1_700_000_000_000


_NIGHTLY = os.environ.get("POINTSMAN_NIGHTLY") == "1"


generated = settings(
    max_examples=20_000 if _NIGHTLY else 400,
    deadline=None,
    database=None,
    derandomize=not _NIGHTLY,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@contextmanager
def limits(case: Case) -> Iterator[None]:
    """Use the limits of the case for gathered records and for the size of the scope."""
    with (
        mock.patch("workflows.engine.turn.MAX_GATHERED_RECORDS", case.gathered),
        mock.patch("workflows.engine.scope.MAX_SCOPE_BYTES", case.scope_bytes),
    ):
        yield


def simulated(case: Case) -> Simulation:
    return simulate(
        case.definition,
        case.payload,
        stubs=case.stubs,
        now_ms=START_MS,
        run_id=RUN_ID,
        system={"tenantId": TENANT_ID},
    )
