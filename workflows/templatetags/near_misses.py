"""Template tags for keys that almost match. Source: docs/reference/events.md#near-misses"""

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from workflows.key_likeness import Parts

register = template.Library()


@register.simple_tag
def key_parts(parts: Parts) -> SafeString:
    """Render a key. The characters that differ from the other key are marked."""
    marks = (('<span class="diff">{}</span>' if differs else "{}", text) for text, differs in parts)
    inner = format_html_join("", "{}", ((format_html(form, text),) for form, text in marks))
    return format_html('<bdi><code class="keyparts">{}</code></bdi>', inner)
