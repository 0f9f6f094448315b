"""Kinds of records in the audit log of sign-ins (docs/reference/sign-in.md#audit-log)."""

from django.db.models import TextChoices


class SignInKind(TextChoices):
    SIGNED_IN = "signed_in", "Signed in"
    FAILED = "failed", "Sign-in failed"
    LOCKED_OUT = "locked_out", "Locked out"
    REFUSED = "refused", "Sign-in refused"
    SIGNED_OUT = "signed_out", "Signed out"
    SESSION_ENDED = "session_ended", "Session ended"
    SESSION_EXPIRED = "session_expired", "Session expired"
    PASSWORD_CHANGED = "password_changed", "Password changed"
    RESET_REQUESTED = "reset_requested", "Password reset requested"
    PASSWORD_RESET = "password_reset", "Password reset"
    FACTOR_ADDED = "factor_added", "Second factor added"
    FACTOR_REMOVED = "factor_removed", "Second factor removed"
    FACTOR_FAILED = "factor_failed", "Second factor failed"
    FACTORS_RESET = "factors_reset", "Second factors reset"
    RESET_REFUSED = "reset_refused", "Reset of second factors refused"
    CODES_CREATED = "codes_created", "Recovery codes created"
    ACCOUNT_CREATED = "account_created", "Account created"
    NAME_CHANGED = "name_changed", "User name changed"
    ADDRESS_CHANGED = "address_changed", "E-mail address changed"
    ACCOUNT_DEACTIVATED = "account_deactivated", "Account deactivated"
    ACCOUNT_ACTIVATED = "account_activated", "Account activated"
    SUPERUSER_GRANTED = "superuser_granted", "Rights of a superuser given"
    SUPERUSER_REVOKED = "superuser_revoked", "Rights of a superuser taken"


class SignInMethod(TextChoices):
    NONE = "", "No method"
    PASSWORD = "password", "Password"
    TOTP = "totp", "Authenticator app"
    PASSKEY = "webauthn", "Passkey"
    RECOVERY_CODE = "recovery_codes", "Recovery code"
    OIDC = "oidc", "Identity provider"
