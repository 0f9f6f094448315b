"""Page of the portal that shows the file docs/support.md. So the page and the documentation cannot differ."""

import re

import markdown
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import mark_safe

PAGE = settings.BASE_DIR / "docs" / "support.md"


def support_view(request: HttpRequest) -> HttpResponse:
    from django.contrib import admin  # the site does not exist yet when its URLs are built

    title, _, text = PAGE.read_text(encoding="utf-8").partition("\n")
    # Remove links to other files of the docs, because the portal does not serve them.
    text = re.sub(r"\[([^\]]+)\]\([^)]+\.md\)", r"\1", text)
    body = markdown.markdown(text, extensions=["tables"])
    context = {
        **admin.site.each_context(request),
        "title": title.removeprefix("# "),
        "body": mark_safe(body),  # noqa: S308  a file of this repository
    }
    return TemplateResponse(request, "portal/support_page.html", context)
