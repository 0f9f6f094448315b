"""Confirmation pages for the commands on one definition: publish, pause, resume, roll back, archive, delete.

Source: docs/reference/administration.md#definition-life-cycle, docs/reference/screens.md#all-screens
"""

import uuid
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from workflows.actors import Actor
from workflows.admin.base import actor_of
from workflows.admin.definition_edit import DefinitionPages
from workflows.admin.definition_forms import DefinitionReasonForm, PublishForm, ResumeForm
from workflows.admin.form_keys import key_of, was_done
from workflows.admin.forms import ReasonForm
from workflows.admin.text_diff import changed_lines
from workflows.engine.definition import canonical_text
from workflows.models import Definition
from workflows.services.definitions.drafts import draft_document
from workflows.services.definitions.ends import definition_archive, definition_delete, definition_unarchive
from workflows.services.definitions.pause import definition_pause, definition_resume, starts_waiting
from workflows.services.definitions.problems import definition_problems
from workflows.services.definitions.publish import definition_publish, definition_roll_back
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, DefinitionState, HeldChoice, Role

PAUSE_NOTE = (
    "Event starts are held until you resume the definition. Starts by people and by the API are refused. "
    "Open runs continue."
)
ARCHIVE_NOTE = "The definition starts no more runs, and its held starts are skipped. Open runs continue."
UNARCHIVE_NOTE = "Events start the published version again, unless the definition is paused."
DELETE_NOTE = (
    "The definition disappears from all lists, and its key is free again. Its closed runs stay. "
    "The deletion cannot be undone."
)


class DefinitionCommandViews(DefinitionPages):
    """Views of `DefinitionAdmin` for commands. GET shows the confirmation page. POST sends the command."""

    def command_urls(self) -> list[URLPattern]:
        views = {
            "publish": self.publish_view,
            "pause": self.pause_view,
            "resume": self.resume_view,
            "archive": self.archive_view,
            "unarchive": self.unarchive_view,
        }
        urls = [
            path(f"<uuid:pk>/{name}/", self.admin_site.admin_view(view), name=f"workflows_definition_{name}")
            for name, view in views.items()
        ]
        roll_back = self.admin_site.admin_view(self.roll_back_view)
        return [*urls, path("<uuid:pk>/rollback/<int:version>/", roll_back, name="workflows_definition_rollback")]

    def publish_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        definition = self._allowed(request, pk, CommandAction.PUBLISH)
        document = draft_document(definition)
        problems = definition_problems(document, tenant_id=definition.tenant_id)
        published = definition.published_version
        after = canonical_text({**document, "version": published.version if published else 1})
        changes = changed_lines(published.canonical_text if published else "", after)
        initial = {"draft_version": definition.draft_version}
        form = PublishForm(request.POST if request.method == "POST" else None, initial=initial)
        return self._confirm(
            request,
            definition,
            form,
            title=f"Publish the draft of {definition.name}?",
            note="New runs use this draft from now on. So do the runs that its trigger starts. Open runs continue with "
            "their version.",
            button="Publish the draft",
            done="The draft is published. New runs use it from now on.",
            call=lambda fields, common: definition_publish(**common, **fields),
            problems=problems,
            is_blocked=any(problem.is_error for problem in problems),
            changes=changes,
        )

    def pause_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        definition = self._allowed(request, pk, CommandAction.PAUSE)
        return self._confirm(
            request,
            definition,
            DefinitionReasonForm(request.POST if request.method == "POST" else None),
            title=f"Pause {definition.name}?",
            note=PAUSE_NOTE,
            button="Pause the definition",
            done="The definition is paused. Event starts are held.",
            call=lambda fields, common: definition_pause(**common, **fields),
        )

    def resume_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        definition = self._allowed(request, pk, CommandAction.UNPAUSE)
        held = starts_waiting(definition).count()
        waits = f"{held} held starts wait. Choose what happens to them." if held else "No start is held."
        return self._confirm(
            request,
            definition,
            ResumeForm(request.POST if request.method == "POST" else None, held=held),
            title=f"Resume {definition.name}?",
            note=f"Events start runs again. {waits} A started run uses the version that is published now.",
            button="Resume the definition",
            done="The definition is resumed.",
            call=lambda fields, common: definition_resume(
                **common, reason=fields["reason"], held=HeldChoice(fields["held"]) if "held" in fields else None
            ),
        )

    def archive_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        definition = self._allowed(request, pk, CommandAction.ARCHIVE)
        return self._confirm(
            request,
            definition,
            DefinitionReasonForm(request.POST if request.method == "POST" else None),
            title=f"Archive {definition.name}?",
            note=ARCHIVE_NOTE,
            button="Archive the definition",
            done="The definition is archived.",
            call=lambda fields, common: definition_archive(**common, **fields),
        )

    def unarchive_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        definition = self._allowed(request, pk, CommandAction.UNARCHIVE)
        return self._confirm(
            request,
            definition,
            DefinitionReasonForm(request.POST if request.method == "POST" else None),
            title=f"Take {definition.name} out of the archive?",
            note=UNARCHIVE_NOTE,
            button="Take it out of the archive",
            done="The definition is no longer archived.",
            call=lambda fields, common: definition_unarchive(**common, **fields),
        )

    def roll_back_view(self, request: HttpRequest, pk: uuid.UUID, version: int) -> HttpResponse:
        definition = self._allowed(request, pk, CommandAction.ROLL_BACK)
        old = definition.versions.filter(version=version).first()
        published = definition.published_version
        problems = definition_problems(old.document(), tenant_id=definition.tenant_id) if old else []
        changes = []
        if old and published:
            after = canonical_text({**old.document(), "version": published.version})
            changes = changed_lines(published.canonical_text, after)
        return self._confirm(
            request,
            definition,
            DefinitionReasonForm(request.POST if request.method == "POST" else None),
            title=f"Roll back {definition.name} to version {version}?",
            note="The text of this version is published again, as a new version. The draft does not change.",
            button="Roll back",
            done=f"The text of version {version} is published again.",
            call=lambda fields, common: definition_roll_back(**common, version=version, **fields),
            problems=problems,
            is_blocked=any(problem.is_error for problem in problems),
            changes=changes,
        )

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        listed = reverse("admin:workflows_definition_changelist")
        if was_done(request):  # an earlier click has deleted the definition
            return HttpResponseRedirect(listed)
        definition = self._allowed(request, object_id, CommandAction.DELETE_DEFINITION)
        open_runs = definition.runs.filter(status__in=OPEN_RUN_STATUSES).count()
        return self._confirm(
            request,
            definition,
            ReasonForm(request.POST if request.method == "POST" else None),
            title=f"Delete {definition.name}?",
            note=DELETE_NOTE,
            button="Delete the definition",
            done=f"{definition.name} is deleted.",
            call=lambda fields, common: definition_delete(**common, **fields),
            goes_to=listed,
            is_blocked=bool(open_runs),
            blocked_by=f"{open_runs} runs are open. Wait until they have ended, or cancel them." if open_runs else "",
        )

    def _allowed(self, request: HttpRequest, pk: Any, action: CommandAction) -> Definition:
        definition = self.find_or_404(request, pk)
        self.require_author(request, action, definition.key)
        return definition

    def _confirm(
        self,
        request: HttpRequest,
        definition: Definition,
        form: forms.Form,
        *,
        call: Callable[[dict[str, Any], dict[str, Any]], object],
        title: str,
        done: str,
        goes_to: str = "",
        **more: Any,
    ) -> HttpResponse:
        """Show the confirmation page. After a valid POST, call the service and go to the page of the definition."""
        back = reverse("admin:workflows_definition_change", args=[definition.id])
        if request.method == "POST" and form.is_valid():
            common = {"actor": actor_of(request), "key": definition.key, "idempotency_key": key_of(request)}
            if self.refusal(form, lambda: call(form.cleaned_data, common)) is None:
                messages.success(request, done)
                return HttpResponseRedirect(goes_to or back)
        context = self.page_context(request, title, definition=definition, form=form, back=back, **more)
        return TemplateResponse(request, "portal/definition_confirm.html", context)


def definition_offers(definition: Definition, actor: Actor, *, no_publish: str) -> list[dict[str, str]]:
    """Return the commands on a definition. If `why_not` has a text, the command is not available now.

    `no_publish` is the reason why the draft cannot be published, or an empty text.
    """
    may_edit = "" if actor.has_role(Role.AUTHOR) else f"You need the role {Role.AUTHOR}."
    may_start = "" if actor.has_role(Role.OPERATOR) else f"You need the role {Role.OPERATOR}."
    deleted = "The definition is deleted." if definition.deleted_at else ""
    archived = "The definition is archived." if definition.state == DefinitionState.ARCHIVED else ""
    unpublished = "" if definition.published_version_id else "No version is published."
    paused = "The definition is paused." if definition.is_paused else ""
    offers = [
        ("Start a run", "start", may_start or archived or unpublished or paused),
        ("Edit the draft", "draft", may_edit or archived),
        ("Publish", "publish", may_edit or archived or no_publish),
        ("Resume", "resume", may_edit or archived or ("" if paused else "The definition is not paused.")),
        ("Pause", "pause", may_edit or archived or paused),
        ("Settings", "settings", may_edit),
        ("Archive", "archive", may_edit or archived),
        ("Take out of the archive", "unarchive", may_edit or ("" if archived else "The definition is not archived.")),
        ("Delete", "delete", may_edit),
    ]
    return [
        {
            "name": name,
            "view": view,
            "url": reverse(f"admin:workflows_definition_{view}", args=[definition.id]),
            "why_not": deleted or why_not,
        }
        for name, view, why_not in offers
    ]
