"""The pause before the restart of a failing program grows up to a limit."""

import time
from types import SimpleNamespace

from supervisor.states import ProcessStates

from portal.devstack.supervisord import MAX_BACKOFF_SECONDS, StackProcess


def test_restart_pause_grows_up_to_a_limit() -> None:
    process = StackProcess(SimpleNamespace(name="web"))
    pauses = []
    for _ in range(MAX_BACKOFF_SECONDS + 20):
        process.state = ProcessStates.STARTING
        before = time.time()
        process.change_state(ProcessStates.BACKOFF)
        pauses.append(round(process.delay - before))
    assert pauses[:3] == [1, 2, 3]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_BACKOFF_SECONDS
