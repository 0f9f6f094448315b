"""Page that sends the events of a file: choose the file, look at the preview, then send.

The content of the file travels in the form between the preview and the sending, compressed. The server keeps nothing.

Source: docs/reference/events.md#events-from-a-file
"""

import base64
import binascii
import zlib
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from ingress.files.reading import MAX_EVENTS, MAX_FILE_BYTES, EventFile, read_event_file
from ingress.files.services import DUPLICATE, NEW, PROBLEM, REFUSED, FileResult, event_file_preview, event_file_send
from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.errors import InputInvalid, PermissionRefused, PortalError
from workflows.statuses import Role

SHOWN_LINES = 500
ORDER = (PROBLEM, REFUSED, DUPLICATE, NEW)


class EventFileForm(forms.Form):
    """Form of the first page. On the second page, `content` holds the file."""

    file = forms.FileField(
        required=False,
        widget=forms.ClearableFileInput(attrs={"class": "in", "accept": ".json,.jsonl,.ndjson,.csv,.txt"}),
        help_text=f"JSON lines, a JSON array, or CSV with a header, as UTF-8. At most {MAX_EVENTS:,} events and"
        f" {MAX_FILE_BYTES:,} bytes.",
    )
    event_type = forms.CharField(
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"class": "in mono", "spellcheck": "false"}),
        help_text="For events of the file that name no event type.",
    )
    mapping = forms.CharField(
        label="Columns of a CSV file",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"class": "in mono", "rows": 4, "spellcheck": "false"}),
        help_text="One line per column, for example `Ticket = payload.ticketId`, `Amount = payload.amount:json` or"
        " `Note = -`. Other columns go to the field or the payload path of their name.",
    )
    name = forms.CharField(required=False, max_length=200, widget=forms.HiddenInput())
    content = forms.CharField(required=False, strip=False, widget=forms.HiddenInput())

    def clean(self) -> dict[str, Any]:
        fields = super().clean() or {}
        upload = fields.get("file")
        if upload is None and not fields.get("content"):
            raise forms.ValidationError("Choose a file.")
        if upload is not None and upload.size > MAX_FILE_BYTES:
            raise forms.ValidationError(f"The file has {upload.size:,} bytes. At most {MAX_FILE_BYTES:,} are allowed.")
        content = upload.read() if upload is not None else unpacked(fields["content"])
        fields |= {"content": content, "name": upload.name if upload is not None else fields.get("name", "")}
        return fields


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode("ascii")


def unpacked(text: str) -> bytes:
    """Return the content of the form's hidden field.

    Errors: ValidationError for a field that the portal did not write.
    """
    try:
        reader = zlib.decompressobj()
        content = reader.decompress(base64.b64decode(text, validate=True), MAX_FILE_BYTES + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise forms.ValidationError("The file in this form cannot be read. Choose the file again.") from error
    return content


class EventBatchViews(TenantAdmin):
    """View of `EventAdmin` that sends the events of a file."""

    def batch_urls(self) -> list[URLPattern]:
        return [path("batch/", self.admin_site.admin_view(self.batch_view), name="workflows_event_batch")]

    def batch_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form on GET. On POST, show the preview. With `do=send`, send the events and show the results."""
        actor = actor_of(request)
        is_post = request.method == "POST"
        form = EventFileForm(request.POST, request.FILES) if is_post else EventFileForm()
        shown: dict[str, Any] = {"form": form, "may_send": actor.has_role(Role.OPERATOR)}
        if is_post:
            try:
                if form.is_valid():
                    shown |= self._handled(request, form.cleaned_data)
                elif not shown["may_send"]:
                    raise PermissionDenied("You need the role operator to send events.")
            except PermissionRefused as error:
                raise PermissionDenied(error.message) from error
            except PortalError as error:
                form.add_error(
                    NON_FIELD_ERRORS, error.message if isinstance(error, InputInvalid) else error_text(error)
                )
        context = self.page_context(request, "Send events from a file", **shown)
        return TemplateResponse(request, "portal/event_batch.html", context)

    def _handled(self, request: HttpRequest, fields: dict[str, Any]) -> dict[str, Any]:
        actor, is_sent = actor_of(request), request.POST.get("do") == "send"
        try:
            file = read_event_file(fields["content"], mapping=fields["mapping"], event_type=fields["event_type"])
        except InputInvalid:
            actor.require(Role.OPERATOR, to="send events")
            raise
        if is_sent:
            key = key_of(request)
            result = once(lambda: event_file_send(actor=actor, file=file, name=fields["name"], idempotency_key=key))
        else:
            result = event_file_preview(actor=actor, file=file)
        assert result is not None, "the service returns its result also for a repeat"
        return {"file": file, "is_sent": is_sent, **_shown(file, result), "hidden": _hidden(request, fields)}


def _shown(file: EventFile, result: FileResult) -> dict[str, Any]:
    lines = sorted(result.lines, key=lambda line: (ORDER.index(line.result), line.number))
    shown = lines[:SHOWN_LINES]
    return {
        "counts": result.counts,
        "lines": sorted(shown, key=lambda line: line.number) if len(lines) <= SHOWN_LINES else shown,
        "more": len(lines) - len(shown),
        "total": len(file.lines),
        "to_send": len(file.lines) - result.counts[PROBLEM],
    }


def _hidden(request: HttpRequest, fields: dict[str, Any]) -> dict[str, str]:
    """Return the hidden fields of the next form. The key stays the same, so that sending again changes nothing."""
    return {
        "content": packed(fields["content"]),
        "name": fields["name"],
        "mapping": fields["mapping"],
        "event_type": fields["event_type"],
        "idempotency_key": request.POST.get("idempotency_key", ""),
    }
