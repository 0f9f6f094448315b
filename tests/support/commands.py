"""Management commands called from tests."""

from io import StringIO

from django.core.management import call_command


def command(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()
