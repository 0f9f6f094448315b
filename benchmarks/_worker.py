"""Second worker of `run_cost`. It is the portal's worker, but it runs the hand-written workflow.

    python -m benchmarks._worker

Both workers have the same threads, slots, sandbox, converter, interceptor, activities and database pool.
"""

import asyncio
import os

import django


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    from benchmarks.run_cost import StoreTenValues
    from workflows.temporal import serve, worker

    worker.RunWorkflow = StoreTenValues  # type: ignore[assignment,misc]
    asyncio.run(serve.serve())


if __name__ == "__main__":
    main()
