"""Fields of the filters of the run list."""

from datetime import datetime, time
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from workflows.selectors.run_values import BOOLEAN, TEXT, SearchPath


class Moment(forms.SplitDateTimeField):
    """Date and time of day in the time zone of the page. The time may be left out."""

    def __init__(self, label: str) -> None:
        # A label can name only one of the two fields.
        dates = {"type": "date", "class": "in", "aria-label": f"{label}, date"}
        times = {"type": "time", "step": "1", "class": "in", "aria-label": f"{label}, time"}
        widget = forms.SplitDateTimeWidget(date_attrs=dates, time_attrs=times, date_format="%Y-%m-%d")
        super().__init__(label=label, required=False, widget=widget)

    def compress(self, data_list: Any) -> datetime | None:
        """Return the moment. Of a time that the clock shows twice, when it is set back, return the first one."""
        try:
            moment: datetime | None = super().compress(data_list)
        except ValidationError as error:
            if error.code != "ambiguous_timezone":
                raise
            moment = timezone.make_aware(datetime.combine(*data_list))
        return moment


class DataMoment(forms.DateTimeField):
    """Date of business data, with or without a time of day in the time zone of the page."""


class LastDataMoment(DataMoment):
    """Last date of a range. Without a time of day, the range has the whole day."""

    def to_python(self, value: Any) -> datetime | None:
        moment: datetime | None = super().to_python(value)
        return moment if moment is None or ":" in str(value) else datetime.combine(moment, time.max, moment.tzinfo)


def text_field(label: str, hint: str = "", *, longest: int = 200) -> forms.CharField:
    attrs = {"class": "in", "spellcheck": "false", "autocomplete": "off", "placeholder": hint}
    return forms.CharField(label=label, required=False, max_length=longest, widget=forms.TextInput(attrs=attrs))


def choice_field(label: str, choices: dict[str, str], empty: str = "Any") -> forms.ChoiceField:
    widget = forms.Select(attrs={"class": "in"})
    return forms.ChoiceField(label=label, required=False, choices=[("", empty), *choices.items()], widget=widget)


class IncidentNumber(forms.IntegerField):
    """Number of an incident, as `118` or `INC-118`."""

    def __init__(self) -> None:
        attrs = {"class": "in", "placeholder": "INC-118", "autocomplete": "off"}
        super().__init__(
            label="Incident", required=False, min_value=1, max_value=2**31 - 1, widget=forms.TextInput(attrs=attrs)
        )

    def to_python(self, value: Any) -> int | None:
        text = str(value or "").strip()
        number: int | None = super().to_python(text[4:] if text[:4].upper() == "INC-" else text)
        return number


def fields_of_data(path: SearchPath) -> dict[str, forms.Field]:
    """Return the fields that filter by this business data."""
    attrs = {"class": "in"}
    if path.kind == BOOLEAN:
        return {path.name: choice_field(path.label, {"true": "yes", "false": "no"})}
    if path.kind == TEXT:
        return {
            path.name: text_field(f"{path.label} begins with"), f"{path.name}.is": text_field(f"{path.label} equals"),
        }  # fmt: skip
    label = f"{path.label} in {path.currency}" if path.currency else path.label
    shared: dict[str, Any] = {"required": False, "widget": forms.TextInput(attrs=attrs)}
    begin, end = (forms.FloatField, forms.FloatField) if path.is_number else (DataMoment, LastDataMoment)
    return {
        f"{path.name}.from": begin(label=f"{label} from", **shared),
        f"{path.name}.to": end(label=f"{label} to", **shared),
    }
