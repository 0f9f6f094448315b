"""Forms of the sign-in pages, in the look of the portal."""

from typing import Any

from allauth.account import forms as library
from allauth.mfa.base import forms as codes
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.webauthn.forms import AddWebAuthnForm
from django import forms
from django.http import HttpRequest

from portal.sign_in.requests import client_of

NEW_PASSWORD = {"password1": "New password", "password2": "New password again"}


def _dress(form: forms.BaseForm, labels: dict[str, str]) -> None:
    """Give the fields the portal's class and labels. A placeholder would repeat the label."""
    for name, field in form.fields.items():
        field.widget.attrs["class"] = "in"
        field.widget.attrs.pop("placeholder", None)
        field.label = labels.get(name, field.label)
    next(iter(form.fields.values())).widget.attrs["autofocus"] = True


class SignInForm(library.LoginForm):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _dress(self, {"login": "User name", "password": "Password"})
        self.fields["password"].help_text = ""
        if self.is_bound and self.data.get("login"):  # after a refusal, the password is usually the wrong part
            del self.fields["login"].widget.attrs["autofocus"]
            self.fields["password"].widget.attrs["autofocus"] = True


class PasswordChangeForm(library.ChangePasswordForm):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _dress(
            self, {"oldpassword": "Current password", "password1": "New password", "password2": "New password again"}
        )
        self.fields["oldpassword"].help_text = ""


class NewPasswordForm(library.ResetPasswordKeyForm):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _dress(self, NEW_PASSWORD)


class PasswordResetForm(library.ResetPasswordForm):
    """Request for a link. The response and its time do not depend on the existence of an account."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _dress(self, {"email": "E-mail address"})

    def clean_email(self) -> str:
        return str(self.cleaned_data["email"])

    def save(self, request: HttpRequest, **options: Any) -> str:
        """Let a Celery worker find the account and send the link. Errors: the broker's errors."""
        from portal.sign_in.tasks import send_reset_link  # Celery is not loaded yet when the settings name this form

        email = str(self.cleaned_data["email"])
        client = client_of(request)
        send_reset_link.delay(email, address=client.address, user_agent=client.user_agent)
        return email


class PasswordAgainForm(library.ReauthenticateForm):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _dress(self, {"password": "Password"})
        self.fields["password"].help_text = ""


class CodeForm(codes.AuthenticateForm):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _dress(self, {"code": "Code of the authenticator app, or a recovery code"})


class CodeAgainForm(codes.ReauthenticateForm):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _dress(self, {"code": "Code of the authenticator app, or a recovery code"})


class ActivateForm(ActivateTOTPForm):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _dress(self, {"code": "Code that the app shows now"})


class PasskeyForm(AddWebAuthnForm):
    """A passkey is always verified by the device, so it can also replace the password."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _dress(self, {"name": "Name of the device"})
        del self.fields["credential"].widget.attrs["class"]
        # The script of the library reads the property `checked`, which a hidden field has too.
        self.fields["passwordless"].widget = forms.HiddenInput(attrs={"checked": True})
        self.fields["passwordless"].initial = True
