"""What is supported and what is refused, in the portal: the page of the docs, so that the two never say different things."""

import re

import markdown
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import mark_safe

PAGE = settings.BASE_DIR / "docs" / "support.md"


def support_view(request: HttpRequest) -> HttpResponse:
    from django.contrib import admin  # the site is not made yet when its addresses are

    title, _, text = PAGE.read_text(encoding="utf-8").partition("\n")
    # Links lead to other files of the docs, which the portal does not serve.
    text = re.sub(r"\[([^\]]+)\]\([^)]+\.md\)", r"\1", text)
    body = markdown.markdown(text, extensions=["tables"])
    context = {
        **admin.site.each_context(request),
        "title": title.removeprefix("# "),
        "body": mark_safe(body),  # noqa: S308  our own file
    }
    return TemplateResponse(request, "portal/support_page.html", context)
