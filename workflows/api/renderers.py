"""Renderer of JSON responses. A decimal has the same digits that its sender wrote."""

from typing import Any

from rest_framework.renderers import JSONRenderer

from workflows.json_numbers import has_sent_decimals, marked, unmarked


class ExactJsonRenderer(JSONRenderer):
    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        if not has_sent_decimals(data):
            return bytes(super().render(data, accepted_media_type, renderer_context))
        text = super().render(marked(data), accepted_media_type, renderer_context).decode()
        return unmarked(text).encode()
