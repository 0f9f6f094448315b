"""Account of a kill trial: the result of every event and run, compared with the result that acceptance times give.

Rules (docs/reference/events.md and engine.md):

- An event that starts a run is `delivered`, and starts exactly one run.
- An event for a wait is `delivered` if it was accepted before the deadline of the wait, and if its buffer time reaches
  to the time at which the run could reach the wait. Otherwise it is `unmatched`. The buffer time begins when the event
  is routed, because delays before its routing do not use up the buffer time.
- The run counts each effect once. After a wait it continues with the branch of the event or of the timeout.
- The acceptance time of a REST event is between the times at which its sender began and got the response.

The acceptance clock and Temporal's clock may differ by 1 s. Within this tolerance, both results are right, but event
and run must agree.
"""

import time
import uuid
from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

from benchmarks._trial_traffic import Case, Sent, Traffic
from tests.support.factories import make_actor
from workflows.models import DataStoreEntry, Event, EventDelivery, HumanTask, Run, RunWait
from workflows.services.runs.verify import run_verify
from workflows.statuses import OPEN_RUN_STATUSES

BUFFER_SECONDS, TOLERANCE_SECONDS = 60.0, 1.0
FINAL_OUTCOMES = {"delivered", "unmatched", "uncorrelated"}
FINAL_DELIVERIES = {"matched", "filtered", "late", "started", "skipped"}
SHOWN = 20


class Account:
    """State of the trial's rows at one time. Cost: five queries."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        own: dict[str, Any] = {"tenant": traffic.tenant}
        self.events = {event.event_id: event for event in Event.objects.filter(**own, occupies_id=True)}
        self.others = list(Event.objects.filter(**own, occupies_id=False))
        self.runs: dict[str, list[Run]] = defaultdict(list)
        for run in Run.objects.filter(**own):
            self.runs[run.correlation_key].append(run)
        self.waits: dict[tuple[uuid.UUID, str], RunWait] = {}
        for found in RunWait.objects.filter(**own).order_by("opened_at"):
            self.waits[found.run_id, found.event_name] = found
        self.deliveries: dict[uuid.UUID, list[str]] = defaultdict(list)
        for event_id, status in EventDelivery.objects.filter(**own).values_list("event_id", "status"):
            self.deliveries[event_id].append(status)
        self.effects = dict(DataStoreEntry.objects.filter(**own, namespace="effects").values_list("key", "value"))
        self.tasks = Counter(HumanTask.objects.filter(**own).values_list("status", flat=True))
        self.differences: dict[uuid.UUID, str] = {}
        self.verified: Counter[str] = Counter()
        self.expected_effects: dict[str, int] = {}
        self.at_limit = 0
        self.contradictions = self._contradictions()

    # -- Events and runs against the rules -----------------------------------------------------------------------------

    def _contradictions(self) -> dict[str, str]:
        found = {event.event_id: "was rejected or stored twice" for event in self.others}
        for event_id, row in self.events.items():
            sent = self.traffic.sent.get(event_id)
            problem = "was never sent" if sent is None else _time_problem(sent, row)
            if problem:
                found[event_id] = problem
        for case in self.traffic.cases.values():
            problem = self._case_problem(case)
            if problem:
                found[case.key] = f"{case.kind}: {problem}"
        counted = {key: value for key, value in self.effects.items() if value != self.expected_effects.get(key, 0)}
        missing = {key: 0 for key in self.expected_effects if key not in self.effects}
        return found | {key: f"effect {value} times" for key, value in (counted | missing).items()}

    def _case_problem(self, case: Case) -> str:
        """Return the difference between the case's rows and the rules, or ""."""
        lost = [event.event_id for event in case.events.values() if event.entry_points and not self._row(event)]
        if lost:
            return f"accepted and not stored: {lost}"
        if case.kind in ("lone", "keyless"):
            return self._outcome_problem(
                case, case.kind.upper(), "unmatched" if case.kind == "lone" else "uncorrelated"
            )
        if problem := self._outcome_problem(case, case.start, "delivered"):
            return problem
        runs = self.runs[case.key]
        if len(runs) != 1:
            return f"{len(runs)} runs"
        check = {"order": self._order_problem, "quote": self._quote_problem, "review": self._review_problem}[case.kind]
        return check(case, runs[0])

    def _order_problem(self, case: Case, run: Run) -> str:
        """PAID ends the first wait, SHIPPED the second. The run keeps waiting if an event is too old for its wait."""
        ready = self._accepted(case, case.start)
        for event_type in ("PAID", "SHIPPED"):
            if problem := self._age_problem(case, event_type, ready):
                return problem
            if self._outcome(case, event_type) != "delivered":
                later = self._outcome_problem(case, "SHIPPED", "unmatched")
                return later or ("" if run.status == "WAITING" else f"the run is {run.status} without {event_type}")
            self._expect_effect(event_type.lower(), case)
            ready = max(ready, self._accepted(case, event_type))
        return "" if run.status == "SUCCEEDED" else f"the run is {run.status}"

    def _age_problem(self, case: Case, event_type: str, ready: float) -> str:
        """Return "" if the event is delivered exactly if the buffer time reaches from its wait back to the event."""
        age = ready - self._routed(case, event_type)
        outcome = self._outcome(case, event_type)
        is_near_limit = abs(age - BUFFER_SECONDS) <= TOLERANCE_SECONDS
        self.at_limit += is_near_limit
        if is_near_limit or (outcome == "delivered") == (age < BUFFER_SECONDS):
            return ""
        return f"{event_type} is {outcome}; it was routed {age:.1f} s before the run could reach its wait"

    def _quote_problem(self, case: Case, run: Run) -> str:
        """ANSWER ends the wait, or the deadline does."""
        wait = self.waits.get((run.id, "ANSWER"))
        if run.status != "SUCCEEDED" or wait is None or wait.deadline_at is None:
            return f"the run is {run.status}"
        is_answered = wait.status == "RESOLVED"
        self._expect_effect("answered" if is_answered else "expired", case)
        if "ANSWER" not in case.events:
            return "answered without an event" if is_answered else ""
        accepted = self._accepted(case, "ANSWER")
        if problem := self._outcome_problem(case, "ANSWER", "delivered" if is_answered else "unmatched"):
            return f"wait {wait.status}, but {problem}"
        before_deadline = wait.deadline_at.timestamp() - accepted
        too_old = self._accepted(case, case.start) - BUFFER_SECONDS - self._routed(case, "ANSWER")
        if min(abs(before_deadline), abs(too_old)) <= TOLERANCE_SECONDS:
            self.at_limit += 1
            return ""
        if is_answered != (before_deadline > 0 and too_old < 0):
            return f"wait {wait.status}, ANSWER was accepted {before_deadline:.1f} s before the deadline"
        return ""

    def _review_problem(self, case: Case, run: Run) -> str:
        """An event or a person completes the task."""
        if "REVIEWED" in case.events:
            if problem := self._age_problem(case, "REVIEWED", self._accepted(case, case.start)):
                return problem
            if self._outcome(case, "REVIEWED") != "delivered":
                return "" if run.status == "WAITING" else f"the run is {run.status} without REVIEWED"
        self._expect_effect("reviewed", case)
        return "" if run.status == "SUCCEEDED" else f"the run is {run.status}"

    def _expect_effect(self, what: str, case: Case) -> None:
        self.expected_effects[f"{what} {case.key}"] = 1

    def _row(self, event: Sent) -> Event | None:
        return self.events.get(event.event_id)

    def _outcome(self, case: Case, event_type: str) -> str:
        row = self._row(case.events[event_type])
        return "not stored" if row is None else str(row.outcome)

    def _outcome_problem(self, case: Case, event_type: str, expected: str) -> str:
        outcome = self._outcome(case, event_type)
        return "" if outcome == expected else f"{event_type} is {outcome}, expected {expected}"

    def _accepted(self, case: Case, event_type: str) -> float:
        row = self._row(case.events[event_type])
        return row.received_at.timestamp() if row else float("nan")

    def _routed(self, case: Case, event_type: str) -> float:
        row = self._row(case.events[event_type])
        return (row.routed_at or row.received_at).timestamp() if row else float("nan")

    # -- Report --------------------------------------------------------------------------------------------------------

    def unfinished(self) -> dict[str, str]:
        """Return events and deliveries that are not in a final state."""
        found = {key: str(row.outcome) for key, row in self.events.items() if row.outcome not in FINAL_OUTCOMES}
        for key, row in self.events.items():
            if open_ := set(self.deliveries[row.id]) - FINAL_DELIVERIES:
                found[key] = f"deliveries {sorted(open_)}"
        return found

    def unsettled(self) -> str:
        """Return the numbers of contradictions and unfinished events while they can still change, or ""."""
        if not self.contradictions and not self.unfinished():
            return ""
        statuses = Counter(run.status for runs in self.runs.values() for run in runs)
        first = next(iter((self.contradictions | self.unfinished()).items()))
        return f"{len(self.unfinished())} events, {len(self.contradictions)} results, runs {dict(statuses)}; {first}"

    def verify_runs(self) -> None:
        """Compare every run with Temporal's history."""
        actor = make_actor(self.traffic.tenant)
        for run in (run for runs in self.runs.values() for run in runs):
            found = run_verify(actor=actor, run_id=run.id)
            self.verified[{True: "equal", False: "different", None: "not comparable"}[found.is_equal]] += 1
            if not found.is_equal:
                self.differences[run.id] = f"{run.status} {[*map(str, found.differences[:3]), *found.notes]}"

    def errors(self) -> dict[str, str]:
        sender = {f"sender {number}": text for number, text in enumerate(self.traffic.errors)}
        differences = {str(key): text for key, text in self.differences.items()}
        return {**self.contradictions, **self.unfinished(), **differences, **sender}

    def report(self) -> str:
        statuses = Counter(run.status for runs in self.runs.values() for run in runs)
        outcomes = Counter((row.event_type.split("_")[0], str(row.outcome)) for row in self.events.values())
        stopped = sum(count for status, count in statuses.items() if status in OPEN_RUN_STATUSES)
        lines = [
            f"cases {dict(Counter(case.kind for case in self.traffic.cases.values()))}",
            f"events sent {len(self.traffic.sent)}, stored {len(self.events)}, by entry point"
            f" {dict(Counter(str(row.source) for row in self.events.values()))}",
            f"responses {dict(sorted(self.traffic.responses.items()))}",
            "events by type and outcome:",
            *(f"  {name:10}{outcome:15}{count:6}" for (name, outcome), count in sorted(outcomes.items())),
            f"deliveries {dict(Counter(each for found in self.deliveries.values() for each in found))}",
            f"runs {dict(statuses)}; {stopped} wait by the rules, because their event was accepted too early",
            f"tasks {dict(self.tasks)}, completed by the API {len(self.traffic.tasks_completed)}",
            f"effects {sum(self.effects.values())} of {len(self.expected_effects)}",
            f"events within {TOLERANCE_SECONDS:g} s of a limit, where both results are right: {self.at_limit}",
            f"runs compared with Temporal: {dict(self.verified)}",
            f"events that are not in a final state: {len(self.unfinished())}",
            f"sender errors: {len(self.traffic.errors)}",
            f"CONTRADICTIONS: {len(self.contradictions)}",
        ]
        return "\n".join(lines + [f"  {key}: {text}" for key, text in list(self.errors().items())[:SHOWN]])


def _time_problem(sent: Sent, row: Event) -> str:
    """Return the problem if the acceptance time is outside of the times that the sender recorded, or ""."""
    accepted = row.received_at.timestamp()
    latest = sent.responded if sent.responded and row.source == "rest" else time.time()
    if sent.began - TOLERANCE_SECONDS <= accepted <= latest + TOLERANCE_SECONDS:
        return ""
    shown = [datetime.fromtimestamp(at).isoformat() for at in (sent.began, accepted, latest)]
    return "accepted outside of the sender's times: began {}, accepted {}, responded {}".format(*shown)
