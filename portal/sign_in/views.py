"""Pages of sign-in that differ from those of django-allauth."""

from typing import Any

from allauth.account import views as library
from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator


@method_decorator(login_required, name="dispatch")
class PasswordChange(library.PasswordChangeView):
    """Page inside the frame of the portal. An account of an identity provider has no password here."""

    success_url = reverse_lazy("admin:index")

    def dispatch(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not request.user.has_usable_password():
            raise PermissionDenied("This account has no password in the portal. Change it at your identity provider")
        return super().dispatch(request, *args, **options)

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        title = "Change the password"
        return super().get_context_data(**admin.site.each_context(self.request), title=title, **more)
