"""Sign-in: lockout, sessions, and the library django-allauth (docs/reference/sign-in.md)."""

from django.urls import reverse_lazy

from portal.env import env
from portal.settings.celery import REDIS_URL
from portal.settings.environment import PRODUCTION

SIGN_IN_ACCOUNT_ATTEMPTS = env.whole(
    "SIGN_IN_ACCOUNT_ATTEMPTS",
    5,
    "failed sign-ins of one account within `SIGN_IN_LOCKOUT_MINUTES`; further attempts are refused",
    low=1,
    high=100,
)
SIGN_IN_ADDRESS_ATTEMPTS = env.whole(
    "SIGN_IN_ADDRESS_ATTEMPTS",
    50,
    "failed sign-ins from one IP address within `SIGN_IN_LOCKOUT_MINUTES`; further attempts are refused",
    low=1,
    high=10_000,
)
SIGN_IN_LOCKOUT_MINUTES = env.whole(
    "SIGN_IN_LOCKOUT_MINUTES", 15, "minutes for which failed sign-ins count", low=1, high=1440
)
SESSION_IDLE_MINUTES = env.whole(
    "SESSION_IDLE_MINUTES",
    60,
    "minutes without activity after which a session ends; the updates of a live page are not activity",
    low=1,
    high=10_080,
)
SESSION_MAX_HOURS = env.whole(
    "SESSION_MAX_HOURS", 12, "hours after the sign-in at which a session ends in any case", low=1, high=720
)
SESSION_COOKIE_AGE = SESSION_MAX_HOURS * 3600
ALLAUTH_TRUSTED_PROXY_COUNT = env.whole(
    "TRUSTED_PROXY_COUNT",
    0,
    "number of proxies that append the client's address to `X-Forwarded-For`; 0: the header is ignored",
    low=0,
    high=10,
)

LOGIN_URL = reverse_lazy("account_login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]

# allauth counts attempts in the cache `default`. All web processes must share it, so it is in Redis.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "pointsman-sign-in",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    },
    "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
_WINDOW = f"{SIGN_IN_LOCKOUT_MINUTES}m"
ACCOUNT_RATE_LIMITS = {
    "login_failed": f"{SIGN_IN_ADDRESS_ATTEMPTS}/{_WINDOW}/ip,{SIGN_IN_ACCOUNT_ATTEMPTS}/{_WINDOW}/key",
    "provider_failed": "10/m/ip,100/m/key",  # records of failures at a provider; a visitor can forge the failures
    "login": None,  # `login_failed` limits the failures; a successful sign-in needs no limit
    "reset_password": "20/m/ip,5/h/key",
    "reset_password_from_key": "20/m/ip",
    "change_password": "5/m/user",
    "reauthenticate": "10/m/user",
}
ACCOUNT_ADAPTER = "portal.sign_in.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_FORMS = {
    "login": "portal.sign_in.forms.SignInForm",
    "reauthenticate": "portal.sign_in.forms.PasswordAgainForm",
    "change_password": "portal.sign_in.forms.PasswordChangeForm",
    "reset_password": "portal.sign_in.forms.PasswordResetForm",
    "reset_password_from_key": "portal.sign_in.forms.NewPasswordForm",
}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_UNIQUE_EMAIL = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_REDIRECT_URL = reverse_lazy("account_login")
ACCOUNT_REAUTHENTICATION_METHODS = ("password", "mfa")

SOCIALACCOUNT_ADAPTER = "portal.sign_in.oidc.ProviderAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_STORE_TOKENS = False

MFA_ADAPTER = "portal.sign_in.second_factors.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_USER_VERIFICATION = "required"  # a found device alone is no second factor
MFA_TOTP_ISSUER = "Pointsman"
MFA_TOTP_TOLERANCE = 1
MFA_ALLOW_UNVERIFIED_EMAIL = True  # accounts come from administrators
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not PRODUCTION
MFA_FORMS = {
    "authenticate": "portal.sign_in.forms.CodeForm",
    "reauthenticate": "portal.sign_in.forms.CodeAgainForm",
    "activate_totp": "portal.sign_in.forms.ActivateForm",
    "add_webauthn": "portal.sign_in.forms.PasskeyForm",
}
