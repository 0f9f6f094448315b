"""Template filter of the run list."""

from typing import Any

from django import template

register = template.Library()


@register.filter
def entry(values: dict[str, Any], name: str) -> Any:
    """Return the entry of a dictionary, or an empty text."""
    return values.get(name, "")
