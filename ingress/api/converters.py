from django.urls.converters import StringConverter


class EventTypeConverter(StringConverter):
    """Name of an event type in a URL. Slashes are allowed. NUL is not allowed, because PostgreSQL refuses it."""

    regex = "[^\x00]+"
