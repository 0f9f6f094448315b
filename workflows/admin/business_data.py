"""Words for the business data of a run, in its declared format (docs/reference/screens.md#business-data)."""

from decimal import Decimal, InvalidOperation

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from workflows.actors import Actor
from workflows.models import Definition
from workflows.redaction import Rules
from workflows.selectors.run_values import BOOLEAN, DATE, LONGEST_DATE, MONEY, NUMBER, SearchPath, search_paths_in
from workflows.templatetags.times import local_time, zone_name


def value_words(path: SearchPath, text: str) -> str:
    """Return a stored value in the format of its type, for example `EUR 1,050.00`."""
    if path.kind == BOOLEAN:
        return "yes" if text == "true" else "no"
    if path.kind in (NUMBER, MONEY):
        return _number_words(text, path.currency)
    moment = parse_datetime(text) if path.kind == DATE and len(text) > LONGEST_DATE else None
    if moment is None:
        return text
    # A time without a zone is in UTC, as in the filters.
    local = local_time(moment.replace(tzinfo=moment.tzinfo or timezone.get_fixed_timezone(0)))
    return f"{local:%Y-%m-%d %H:%M} {zone_name(local)}"


def _number_words(text: str, currency: str) -> str:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    digits = -int(number.as_tuple().exponent)
    if not currency:
        return f"{number:,f}" if 0 <= digits <= 15 else text
    return f"{currency} {number:,.{min(max(digits, 2), 15)}f}"


def business_data_of(
    definition: Definition, values: dict[str, str], actor: Actor, rules: Rules
) -> list[tuple[SearchPath, str]]:
    """Return path and words of the business data of a run that the actor may see. `values` are its texts by path."""
    paths = search_paths_in(definition.id, definition.search_paths, rules) if actor.sees_payloads else []
    return [(path, value_words(path, values[path.path])) for path in paths if path.path in values]
