"""Template tags for keys that almost match. Source: docs/reference/events.md#near-misses"""

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from workflows.key_likeness import Parts, key_likeness

register = template.Library()
# Longest key that fits into a line of a narrow table. Units: characters.
ONE_LINE = 20


@register.simple_tag
def key_parts(parts: Parts) -> SafeString:
    """Render a key. The characters that differ from the other key are marked. A short key stays in one line."""
    marks = (('<span class="diff">{}</span>' if differs else "{}", text) for text, differs in parts)
    inner = format_html_join("", "{}", ((format_html(form, text),) for form, text in marks))
    size = "short" if sum(len(text) for text, _ in parts) <= ONE_LINE else ""
    return format_html('<bdi><code class="keyparts {}">{}</code></bdi>', size, inner)


@register.simple_tag
def compared_key(key: str, wanted: str) -> SafeString:
    """Render the key of an event. The characters that the key of the wait does not have are marked."""
    return key_parts(key_likeness(key, wanted).parts)


@register.simple_tag
def wanted_key(key: str, wanted: str) -> SafeString:
    """Render the key of a wait. The characters that the key of the event does not have are marked."""
    return key_parts(key_likeness(key, wanted).wanted_parts)
