from django.urls.converters import StringConverter


class EventTypeConverter(StringConverter):
    """An event type's name in an address, slashes included; without the character that PostgreSQL cannot compare."""

    regex = "[^\x00]+"
