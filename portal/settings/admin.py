"""The theme of the Django admin."""

UNFOLD = {
    "SITE_TITLE": "Pointsman",
    "SITE_HEADER": "Pointsman",
    "SITE_SUBHEADER": "Workflows on Temporal",
    "SITE_ICON": "portal.site.icon",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "portal.site.icon"}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "portal.site.environment_badge",
    "COLORS": {
        "primary": {
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
    },
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": "portal.site.navigation"},
    "STYLES": ["portal.site.stylesheet"],
    "LOGIN": {"form": "portal.forms.MemberAuthenticationForm"},
}
