"""Programs of the portal that are forked from one process, so that a start takes 0.1 s instead of three seconds.

The server process of `multiprocessing` imports `tests.support.loaded_portal` once and forks each program. Use it for
programs that a test kills. A test of a command or of a signal starts the command itself.
"""

import multiprocessing
import os
import random
import signal
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from portal.devstack.child import die_with_parent

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.support.loaded_portal"])


class ForkedProgram:
    """Running program. The methods are those of `subprocess.Popen` that tests need."""

    def __init__(self, main: Callable[..., Any], *arguments: Any, log: Path | None = None, **settings: Any) -> None:
        """Call `main` with the arguments in a process of its own. `settings` replace Django settings there."""
        self._process = _context.Process(target=_run, args=(main, arguments, settings, log), daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Return the exit code, or the negative number of the signal that ended the process."""
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"the program has not ended within {timeout:g} s"
        return code

    def kill(self) -> None:
        self._process.kill()


def _run(
    main: Callable[..., Any], arguments: tuple[Any, ...], replaced: Mapping[str, Any], log: Path | None
) -> NoReturn:
    from django.conf import settings

    try:
        die_with_parent(signal.SIGKILL, os.getppid())
        if log is not None:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(output, 1)
            os.dup2(output, 2)
        warnings.simplefilter("ignore")
        random.seed()
        for name, value in replaced.items():
            getattr(settings, name)  # a wrong name would have no effect
            setattr(settings, name, value)
        main(*arguments)
    except BaseException:  # noqa: BLE001  the exit code reports it to the test
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
