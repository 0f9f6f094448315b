"""Colours of the admin theme. Unfold turns them into the variables `--color-primary-*` that its own widgets use.

Words and colours of statuses are in `workflows/status_marks.py`, and the colours of the screens are in design.css.
"""

from django.http import HttpRequest

_PRIMARY = {
    "50": "oklch(97% .014 240)",
    "100": "oklch(94% .03 240)",
    "200": "oklch(88% .06 240)",
    "300": "oklch(80% .1 240)",
    "400": "oklch(72% .13 243)",
    "500": "oklch(63% .15 246)",
    "600": "oklch(55% .15 250)",
    "700": "oklch(48% .14 252)",
    "800": "oklch(41% .12 253)",
    "900": "oklch(36% .1 254)",
    "950": "oklch(27% .08 255)",
}


def primary(request: HttpRequest) -> dict[str, str]:
    """Return the shades of the primary colour.

    Each call returns a new dictionary, because Unfold changes the dictionary.
    """
    return dict(_PRIMARY)
