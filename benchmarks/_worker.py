"""Second worker of `run_cost`: the portal's worker with the hand-written workflow instead of the portal's workflow.

    python -m benchmarks._worker

Everything else is identical: threads, slots, sandbox, converter, interceptor, activities, database pool.
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
