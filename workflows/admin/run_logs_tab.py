"""The tab "Logs" of the run page: lines of the run, by level, step and time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from workflows.models import Run, RunLog
from workflows.outline.nodes import Node
from workflows.selectors.keyset import keyset_page
from workflows.selectors.run_logs import lines_at_level, numbers_from_level, run_lines
from workflows.statuses import LogLevel
from workflows.templatetags.times import zone_name

# A level shows its own lines and those of the levels above it.
WORDS = {LogLevel.ERROR: "Error", LogLevel.WARNING: "Warning", LogLevel.INFO: "Info", LogLevel.DEBUG: "Debug"}
UNREADABLE = "This is not a time. Write it as in 2026-11-24T13:47:00."


def logs_content(run: Run, query: QueryDict, nodes: Mapping[str, Node]) -> dict[str, Any]:
    """Return the context of the tab. A filter that cannot be read has its problem in `log_problems`.

    Cost: two statements.
    """
    times, problems = _times(query)
    level = _level(query.get("level", ""), problems)
    step = query.get("in_step", "")
    lines = run_lines(run, step=step, since=times["from"], until=times["until"])
    numbers = numbers_from_level(lines)
    page = keyset_page(lines_at_level(lines, level).order_by("-at", "-id"), at=query.get("logs", ""))
    return {
        "lines": page,
        "shown_lines": [_shown(line, nodes) for line in page.rows],
        "log_levels": [
            {"word": word, "number": numbers[name], "url": _link(query, level=name), "is_chosen": name == level}
            for name, word in WORDS.items()
        ],
        "log_level": level,
        "log_steps": [{"path": path, "name": node.title} for path, node in nodes.items()],
        "log_step": step,
        "log_times": {name: query.get(name, "") for name in times},
        "log_problems": problems,
        "log_zone": zone_name(),
        "is_log_filtered": bool(step or times["from"] or times["until"]),
    }


def _level(text: str, problems: dict[str, str]) -> LogLevel:
    if text and text not in LogLevel.values:
        problems["level"] = f"There is no level {text[:50]}. The list shows the level info and above."
    return LogLevel(text) if text in LogLevel.values else LogLevel.INFO


def _shown(line: RunLog, nodes: Mapping[str, Node]) -> dict[str, Any]:
    node = nodes.get(line.step_path)
    link = QueryDict(mutable=True)
    link["step"] = line.step_path
    if line.iteration:
        link["iteration"] = line.iteration
    return {
        "line": line,
        "step": node.title if node is not None else line.step_path,
        "url": f"?{link.urlencode()}" if node is not None else "",
        "items": [int(index) + 1 for index in line.iteration.split(".")] if line.iteration else [],
    }


def _times(query: QueryDict) -> tuple[dict[str, datetime | None], dict[str, str]]:
    """Return the limits of the period, read in the zone of the request, and the problem of each that is unreadable."""
    times: dict[str, datetime | None] = {"from": None, "until": None}
    problems: dict[str, str] = {}
    for name in times:
        text = query.get(name, "")
        try:
            found = parse_datetime(text) if text else None
            times[name] = timezone.make_aware(found) if found is not None and found.tzinfo is None else found
        except (ValueError, OverflowError):
            found = None
        if text and found is None:
            problems[name] = UNREADABLE
    return times, problems


def _link(query: QueryDict, **changes: str) -> str:
    changed = query.copy()
    changed["tab"] = "logs"
    if "logs" not in changes:
        changed.pop("logs", None)
    for name, value in changes.items():
        if value:
            changed[name] = value
        else:
            changed.pop(name, None)
    return f"?{changed.urlencode()}"
