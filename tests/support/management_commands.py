"""Management commands called from tests."""

from io import StringIO

from django.core.management import call_command


def run_command(*arguments: str) -> str:
    """Run a management command and return its output."""
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()
