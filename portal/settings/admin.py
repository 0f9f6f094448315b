"""Theme of the Django admin."""

UNFOLD = {
    "SITE_TITLE": "Pointsman",
    "SITE_HEADER": "Pointsman",
    "SITE_SUBHEADER": "Workflows on Temporal",
    "SITE_ICON": "portal.site.icon",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "portal.site.icon"}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "portal.site.environment_badge",
    "COLORS": {"primary": "portal.pages.palette.primary"},
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": "portal.navigation.navigation"},
}
