from django.urls.converters import StringConverter


class NameConverter(StringConverter):
    """A name in an address: as `str`, without the character that PostgreSQL cannot compare."""

    regex = "[^/\x00]+"
