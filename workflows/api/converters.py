"""URL converters of the API."""

from django.urls.converters import StringConverter


class NameConverter(StringConverter):
    """Name in a URL. The character NUL is not allowed, because PostgreSQL cannot compare it."""

    regex = "[^/\x00]+"
