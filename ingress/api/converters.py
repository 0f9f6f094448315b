from django.urls.converters import StringConverter


class EventTypeConverter(StringConverter):
    """Name of an event type in a URL, with slashes. NUL is excluded, because PostgreSQL refuses it."""

    regex = "[^\x00]+"
