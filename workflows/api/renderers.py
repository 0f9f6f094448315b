"""Renderer of JSON responses. A decimal has the same digits that its sender wrote."""

from typing import Any

from rest_framework.renderers import JSONRenderer

from workflows.json_numbers import has_sent_decimals, marked, unmarked


class _AsciiRenderer(JSONRenderer):
    ensure_ascii = True


class ExactJsonRenderer(JSONRenderer):
    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        if not has_sent_decimals(data):
            return self._rendered(data, accepted_media_type, renderer_context)
        return unmarked(self._rendered(marked(data), accepted_media_type, renderer_context).decode()).encode()

    def _rendered(self, data: Any, accepted_media_type: Any, renderer_context: Any) -> bytes:
        try:
            return bytes(super().render(data, accepted_media_type, renderer_context))
        except UnicodeEncodeError:
            # An error repeats half of a surrogate pair of the request. UTF-8 cannot encode it, but JSON can escape it.
            return bytes(_AsciiRenderer().render(data, accepted_media_type, renderer_context))
