"""Forms of schedules and holiday calendars. The services check the fields."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from workflows.actors import Actor
from workflows.admin.forms import JsonObjectField
from workflows.json_numbers import write_json
from workflows.models import Definition, HolidayCalendar, Schedule
from workflows.services.schedules.business_days import WEEKDAYS
from workflows.services.schedules.edit import TIME_FIELDS, fields_of
from workflows.services.schedules.field_checks import MAX_CATCH_UP_SECONDS, MAX_NAME_LENGTH, MIN_CATCH_UP_SECONDS
from workflows.statuses import ScheduleOrigin, ScheduleOverlap
from workflows.templatetags.times import zone_name


def text_input() -> UnfoldAdminTextInputWidget:
    return UnfoldAdminTextInputWidget(attrs={"spellcheck": "false", "autocomplete": "off"})


class ScheduleForm(forms.Form):
    definition = forms.ChoiceField(widget=UnfoldAdminSelectWidget(), help_text="Runs use its published version.")
    name = forms.CharField(max_length=MAX_NAME_LENGTH, widget=text_input())
    cron = forms.CharField(
        label="Cron expression",
        required=False,
        widget=text_input(),
        help_text="Minute, hour, day of the month, month, day of the week. For example 30 9 * * 1-5. Leave empty for a"
        " single time.",
    )
    run_at = forms.CharField(
        label="Single time",
        required=False,
        widget=text_input(),
        help_text="ISO 8601 with a zone, for example 2027-01-26T09:00:00+01:00. Leave empty with a cron expression.",
    )
    time_zone = forms.CharField(
        initial="UTC", max_length=64, widget=text_input(), help_text="IANA name, for example Europe/Berlin."
    )
    payload = JsonObjectField(
        initial="{}",
        help_text="Payload of the runs. Expressions see schedule.scheduledAt, schedule.firedAt, schedule.name,"
        " schedule.id and schedule.timeZone.",
    )
    overlap = forms.ChoiceField(
        label="If an earlier run of this schedule is open",
        choices=ScheduleOverlap.choices,
        initial=ScheduleOverlap.ALLOW_ALL,
        widget=UnfoldAdminSelectWidget(),
    )
    catch_up_seconds = forms.IntegerField(
        label="Catch-up window in seconds",
        initial=3600,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="After an outage of Temporal, occurrences up to this age are started late. From"
        f" {MIN_CATCH_UP_SECONDS} to {MAX_CATCH_UP_SECONDS:,} s.",
    )
    only_business_days = forms.BooleanField(
        label="Only on business days", required=False, widget=UnfoldBooleanSwitchWidget()
    )
    calendar = forms.ChoiceField(
        label="Holiday calendar",
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="Without a calendar, only Saturday and Sunday are closed.",
    )

    def __init__(self, actor: Actor, row: Schedule | None, data: Any) -> None:
        initial = None if row is None else {**vars(fields_of(row)), "payload": write_json(row.payload, indent=2)}
        super().__init__(data, initial=initial)
        calendars = HolidayCalendar.objects.filter(tenant_id=actor.tenant_id).order_by("name")
        names = [(name, name) for name in calendars.values_list("name", flat=True)]
        self.fields["calendar"].choices = [("", "none"), *names]  # type: ignore[attr-defined]
        if row is not None:
            dropped = TIME_FIELDS if row.origin == ScheduleOrigin.TRIGGER else ()
            for name in ("definition", *dropped):
                del self.fields[name]
            return
        published = Definition.objects.filter(tenant_id=actor.tenant_id, published_version__isnull=False)
        keys = published.filter(archived_at__isnull=True).order_by("key").values_list("key", flat=True)
        # No definition is selected in advance. Otherwise an author could save a schedule for the wrong one.
        self.fields["definition"].choices = [("", "–"), *((key, key) for key in keys)]  # type: ignore[attr-defined]

    def given(self) -> dict[str, Any]:
        """Return the fields of the schedule, without the definition. An empty single time is None."""
        given = {name: value for name, value in self.cleaned_data.items() if name != "definition"}
        return given | ({"run_at": given["run_at"] or None} if "run_at" in given else {})


class BackfillForm(forms.Form):
    start = forms.DateTimeField(
        label="First time",
        widget=text_input(),
        help_text="For example 2026-01-26 09:00. The range includes this time.",
    )
    end = forms.DateTimeField(
        label="Last time", widget=text_input(), help_text="The range includes this time. It must be in the past."
    )
    overlap = forms.ChoiceField(
        label="If an earlier run of this schedule is open",
        choices=ScheduleOverlap.choices,
        initial=ScheduleOverlap.BUFFER_ALL,
        widget=UnfoldAdminSelectWidget(),
    )
    reason = forms.CharField(max_length=2000, widget=text_input(), help_text="Stored in the command ledger.")

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        for name in ("start", "end"):
            self.fields[name].label = f"{self.fields[name].label} ({zone_name()})"


class HolidaysField(forms.CharField):
    """Field for holidays, one per line: the date and the name."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{day} {name}" for day, name in sorted(value.items())) if isinstance(value, dict) else value

    def clean(self, value: Any) -> dict[str, str]:
        lines = [line.strip() for line in super().clean(value).splitlines() if line.strip()]
        pairs = [line.partition(" ")[::2] for line in lines]
        days = [day for day, _ in pairs]
        if len(set(days)) < len(days):
            twice = next(day for day in days if days.count(day) > 1)
            raise forms.ValidationError(f"{twice} occurs twice. Keep one line.")
        return {day: name.strip() for day, name in pairs}


class CalendarForm(forms.Form):
    name = forms.CharField(max_length=100, widget=text_input())
    weekend = forms.TypedMultipleChoiceField(
        label="Days of the weekend",
        required=False,
        coerce=int,
        choices=list(enumerate(WEEKDAYS, 1)),
        initial=[6, 7],
        widget=forms.CheckboxSelectMultiple(),
    )
    holidays = HolidaysField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 12, "spellcheck": "false", "class": "pm-code"}),
        help_text="One per line: the date and the name, for example 2027-01-01 New Year.",
    )
