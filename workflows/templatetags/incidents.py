"""Template tags of incidents: the bars of the last 24 hours. Source: docs/reference/incidents.md#pages"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import template
from django.template import Context
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from workflows.error_reasons import error_shown
from workflows.models import Incident, Run
from workflows.redaction import compiled
from workflows.selectors.failure_counts import Hour, VersionRow
from workflows.selectors.replay_counts import ReplayCounts
from workflows.services.incidents.messages import MARKER, marker_values
from workflows.status_marks import INCIDENT
from workflows.statuses import IncidentState
from workflows.templatetags.times import ago

register = template.Library()

BAR_WIDTH, BAR_STEP, HEIGHT = 4.8, 6.313, 30
# Sizes of the chart of one incident, in units of its view box.
CHART_WIDTH, CHART_LEFT, CHART_STEP, CHART_TOP, CHART_BASE = 620, 26, 24.75, 18, 108
CHARACTER_WIDTH, LABEL_GAP = 6.0, 5  # of the label of a version
STEPS_OF_SCALE = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500)
SHOWN_MARKERS, SHOWN_VALUES = 5, 3
TONES = {IncidentState.OPEN: "amber"}


@register.simple_tag
def incident_bars(incident: Incident, hours: Sequence[int]) -> SafeString:
    """Render one bar for each hour. An hour without a failure has a thin line."""
    most = max([*hours, 1])
    bars = format_html_join(
        "",
        '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="1"/>',
        (_bar(number, failures, most) for number, failures in enumerate(hours)),
    )
    return format_html(
        '<svg class="spark c-{}" width="150" height="{}" viewBox="0 0 150 {}" role="img"'
        ' aria-label="{} in the last 24 hours">{}</svg>',
        TONES.get(IncidentState(incident.state), INCIDENT[incident.state].tone),
        HEIGHT,
        HEIGHT,
        f"{sum(hours)} failure{'' if sum(hours) == 1 else 's'}",
        bars,
    )


def _bar(number: int, failures: int, most: int) -> tuple[str, str, str, float, str]:
    height = max(3.0, (HEIGHT - 2) * failures / most) if failures else 1.0
    return "" if failures else "z", f"{number * BAR_STEP:.1f}", f"{HEIGHT - height:.1f}", BAR_WIDTH, f"{height:.1f}"


@register.simple_tag
def incident_chart(hours: Sequence[Hour], versions: Sequence[VersionRow]) -> SafeString:
    """Render the failures of each of the last 24 hours, with a line where a version was published."""
    step = _scale_step(max([hour.failures for hour in hours], default=0))
    most = max(step, -(-max([hour.failures for hour in hours], default=0) // step) * step)
    height = (CHART_BASE - CHART_TOP) / most
    total = sum(hour.failures for hour in hours)
    label = f"Failures per hour, last 24 hours: {total} in all" if total else "No run failed in the last 24 hours"
    lines = format_html_join(
        "",
        '<line class="gridline" x1="26" x2="620" y1="{0}" y2="{0}"/>'
        '<text class="axis" x="20" y="{1}" text-anchor="end">{2}</text>',
        (_grid_line(value, height) for value in range(0, most + 1, step)),
    )
    bars = format_html_join(
        "",
        '<rect class="{}" x="{}" y="{}" width="20.8" height="{}" rx="1.5"><title>{} to {}: {}</title></rect>{}',
        (_chart_bar(number, hour, height) for number, hour in enumerate(hours)),
    )
    published = _lines(hours, versions)
    marks = format_html_join(
        "", '<line class="mark" x1="{0}" x2="{0}" y1="6" y2="108"/>', ((f"{x:.1f}",) for x, _ in published)
    ) + format_html_join(
        "", '<text class="axis mark-text" x="{}" y="13" text-anchor="{}">{}</text>', _labels(published)
    )
    return format_html(
        '<svg class="inc-chart" viewBox="0 0 620 128" role="img" aria-label="{}">{}{}{}</svg>',
        label,
        lines,
        bars,
        marks,
    )


@register.simple_tag(takes_context=True)
def error_message(context: Context, error: dict[str, Any] | None) -> str:
    """Return the message of an error with the reason of the response, redacted."""
    actor = context.get("actor")
    sees = actor is not None and actor.sees_payloads
    shown = error_shown(error or {}, context.get("redaction") or compiled(), sees_payloads=sees)
    return str(shown.get("message", "")) if isinstance(shown, dict) else str(shown)


@register.simple_tag(takes_context=True)
def newest_failure(context: Context, error: Any, message: str) -> str:
    """Return the message of the newest failure if it says more than the normalised message of its incident.

    It says more for a reader who sees payloads: it has the reason of the response, and the values in the message.
    """
    shown = error_message(context, error) if isinstance(error, dict) else ""
    return "" if shown == error_message(context, {"message": message}) else shown


@register.simple_tag(takes_context=True)
def normalised_message(context: Context, message: str) -> SafeString:
    """Render a normalised message, redacted. The parts that differ between the runs are marked."""
    message = error_message(context, {"message": message})
    parts, end = [], 0
    for found in MARKER.finditer(message):
        parts += [("same", message[end : found.start()]), ("diff", found.group())]
        end = found.end()
    parts.append(("same", message[end:]))
    shown = [(kind, text) for kind, text in parts if text]
    return format_html_join("", '<bdi class="{}">{}</bdi>', shown or [("same", "none")])


@register.simple_tag(takes_context=True)
def differing_values(context: Context, message: str, runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return the values that the messages of the newest runs have in place of the first markers of a message.

    The messages are redacted, and without the reason of the response, because it groups nothing.
    """
    rules = context.get("redaction") or compiled()
    errors = (error_shown(run.error or {}, rules, sees_payloads=False) for run in runs)
    found = marker_values(message, (str(error.get("message", "")) for error in errors if isinstance(error, dict)))
    return [
        {
            "marker": each.marker, "shown": each.values[:SHOWN_VALUES], "runs": each.messages,
            "more": max(0, len(each.values) - SHOWN_VALUES), "is_equal": len(each.values) == 1 < each.messages,
        }
        for each in found[:SHOWN_MARKERS]
    ]  # fmt: skip


@register.simple_tag
def run_age(started_at: datetime, ended_at: datetime | None) -> SafeString:
    """Render the time since the end of a run, or since its start while it is open: `started 6 min ago`."""
    return format_html("{}{}", "" if ended_at else "started ", ago(ended_at or started_at))


@register.simple_tag
def incident_work(incident: Incident, replays: ReplayCounts) -> SafeString:
    """Render what became of the runs of an incident, in one sentence. Each number is a link to exactly these runs.

    A run and its replays are one piece of work, and its newest run decides.
    """
    newest = "the newest " if incident.run_count > replays.runs else ""
    number = "failed run" if newest and replays.runs == 1 else f"{replays.runs:,} failed run{pluralize(replays.runs)}"
    parts = [format_html("Of {}{}", newest, number)]
    if replays.not_replayed:
        parts.append(_runs_link(incident, "never", "", f"{replays.not_replayed:,} not replayed"))
    replayed = _runs_link(incident, "newest", "", f"{replays.total:,} replayed")
    parts.append(format_html("{}: {} succeeded", replayed, replays.succeeded))
    passed = format_html(" ({} passed “<bdi>{}</bdi>”)", replays.passed, incident.step) if replays.passed else ""
    parts.append(format_html("{} open{}", replays.open, passed))
    if replays.canceled:
        parts.append(format_html("{} canceled", replays.canceled))
    if replays.timed_out:
        parts.append(_runs_link(incident, "newest", "TIMED_OUT", f"{replays.timed_out:,} timed out"))
    failed = f"{replays.failed:,} failed again"
    parts.append(_runs_link(incident, "newest", "FAILED", failed) if replays.failed else format_html("{}", failed))
    causes = format_html(" ({})", _causes(replays)) if replays.failed_again else ""
    return format_html("{}{}.", format_html_join(", ", "{}", ((part,) for part in parts)), causes)


def _runs_link(incident: Incident, choice: str, status: str, text: str) -> SafeString:
    query = {"incident": incident.number, "replays": choice} | ({"status__exact": status} if status else {})
    address = f"{reverse('admin:workflows_run_changelist')}?{urlencode(query)}"
    if status:
        return format_html('<a class="tint c-red" href="{}"><b>{}</b></a>', address, text)
    return format_html('<a href="{}">{}</a>', address, text)


def _causes(replays: ReplayCounts) -> SafeString:
    """Render the causes of the replays that failed again: `4 same cause, 2 other cause: INC-119`."""
    parts: list[tuple[int, str, str]] = [(replays.same_cause, "same cause", "")] if replays.same_cause else []
    for cause, number in replays.other_causes.items():
        page = reverse("admin:workflows_incident_change", args=[cause.id])
        parts.append((number, "other cause: ", format_html('<a href="{}">INC-{}</a>', page, cause.number)))
    if replays.ungrouped:
        parts.append((replays.ungrouped, "not grouped yet", ""))
    return format_html_join(", ", "{} {}{}", parts)


@register.simple_tag
def share_bar(percent: int) -> SafeString:
    """Render a share as a bar. The caller writes the number beside it."""
    return format_html(
        '<svg class="meter c-red" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="{}" height="4"/></svg>',
        percent,
    )


@register.simple_tag
def share_bars(shares: Sequence[dict[str, Any]]) -> SafeString:
    """Render the shares of one whole side by side. The caller writes the numbers above."""
    begins = [sum(float(share["percent"]) for share in shares[:place]) for place in range(len(shares))]
    bars = format_html_join(
        "",
        '<rect class="c-{}" x="{}" width="{}" height="8"/>',
        ((share["tone"], f"{x:.2f}", share["percent"]) for share, x in zip(shares, begins, strict=True)),
    )
    return format_html(
        '<svg class="stackbar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">{}</svg>', bars
    )


def _scale_step(most: int) -> int:
    """Return the distance of the grid lines, so that there are at most four lines above zero."""
    return next((step for step in STEPS_OF_SCALE if step * 4 >= most), -(-most // 400) * 100)


def _grid_line(value: int, unit: float) -> tuple[str, str, int]:
    y = CHART_BASE - value * unit
    return f"{y:.1f}", f"{y + 4:.1f}", value


def _chart_bar(number: int, hour: Hour, unit: float) -> tuple[str, str, str, str, str, str, str, str]:
    x = f"{CHART_LEFT + 2 + number * CHART_STEP:.1f}"
    height = max(2.0, hour.failures * unit) if hour.failures else 1.0
    local = timezone.localtime(hour.begin)
    begin, end = f"{local:%H:%M}", f"{timezone.localtime(hour.end):%H:%M}"
    is_named = local.hour % 4 == 0
    # The label of one of the last bars would not fit to its right.
    is_last = number * CHART_STEP > CHART_WIDTH * 0.9
    end_at = f"{CHART_LEFT + (number + 1) * CHART_STEP:.1f}"
    place = (end_at, "end") if is_last else (x, "start")
    axis = (
        format_html('<text class="axis" x="{}" y="124" text-anchor="{}">{}</text>', *place, begin) if is_named else ""
    )
    runs = f"{hour.failures} run{'' if hour.failures == 1 else 's'}"
    kind = "bad" if hour.failures else "z"
    return kind, x, f"{CHART_BASE - height:.1f}", f"{height:.1f}", begin, end, runs, axis


def _lines(hours: Sequence[Hour], versions: Sequence[VersionRow]) -> list[tuple[float, VersionRow]]:
    """Return the versions that were published in these hours, each with the place of its line, in the order of time."""
    published = [row for row in versions if hours and hours[0].begin <= row.published_at < hours[-1].end]
    return [
        (CHART_LEFT + 2 + (row.published_at - hours[0].begin).total_seconds() / 3600 * CHART_STEP, row)
        for row in sorted(published, key=lambda row: (row.published_at, row.version))
    ]


def _labels(lines: Sequence[tuple[float, VersionRow]]) -> list[tuple[str, str, str]]:
    """Return the labels of the lines: place, anchor and text. Versions whose labels would overlap have one label."""
    groups: list[list[tuple[float, VersionRow]]] = []
    for line in lines:
        groups.append([line])
        while len(groups) > 1 and _label(groups, -1)[0] < _label(groups, -2)[1] + LABEL_GAP:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_label(groups, place)[2:] for place in range(len(groups))]


def _label(groups: Sequence[Sequence[tuple[float, VersionRow]]], place: int) -> tuple[float, float, str, str, str]:
    """Return the left and the right end of the label of a group, its place, anchor and text. The first has the verb."""
    group = groups[place]
    numbers = [f"v{row.version}" for _, row in (group[0], group[-1])]
    times = [f"{timezone.localtime(row.published_at):%H:%M}" for _, row in (group[0], group[-1])]
    verb = " published" if group is groups[0] else ""
    text = f"{'–'.join(dict.fromkeys(numbers))}{verb} {'–'.join(dict.fromkeys(times))}"
    width, begin, end = CHARACTER_WIDTH * len(text), group[0][0], group[-1][0]
    if begin > width + LABEL_GAP:
        return begin - LABEL_GAP - width, begin - LABEL_GAP, f"{begin - LABEL_GAP:.1f}", "end", text
    return end + LABEL_GAP, end + LABEL_GAP + width, f"{end + LABEL_GAP:.1f}", "start", text
