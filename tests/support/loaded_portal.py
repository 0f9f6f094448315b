"""The loaded portal, for the process that forks the programs of `forked.py`.

The process starts no thread and opens no connection, because a forked program must begin with nothing open.
"""

import gc
import os

import django
from django.db import connection

django.setup()

import workflows.temporal.serve  # noqa: E402, F401  a worker imports it only when it starts

assert len(os.listdir("/proc/self/task")) == 1, "a fork would lose the threads"
assert connection.connection is None, "a fork would share the connection"
gc.freeze()
