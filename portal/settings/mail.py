"""E-mail, and invitations that are sent by e-mail."""

from portal.env import env, importable
from portal.settings.environment import POINTSMAN_HOME, PRODUCTION

EMAIL_BACKEND = env.parsed(
    "EMAIL_BACKEND",
    "django.core.mail.backends.smtp.EmailBackend" if PRODUCTION else "django.core.mail.backends.filebased.EmailBackend",
    importable,
    "Django's e-mail backend; in development, e-mails are written to files in `POINTSMAN_HOME/mail`",
)
EMAIL_FILE_PATH = str(POINTSMAN_HOME / "mail")
EMAIL_HOST = env.text("EMAIL_HOST", "localhost", "SMTP server")
EMAIL_PORT = env.port("EMAIL_PORT", 25, "SMTP port")
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER", "", "SMTP user")
EMAIL_HOST_PASSWORD = env.secret("EMAIL_HOST_PASSWORD", "SMTP password")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", False, "use STARTTLS with the SMTP server")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "pointsman@localhost", "sender address of e-mails")
INVITATION_HOURS = env.whole(
    "INVITATION_HOURS", 72, "hours for which the link in the e-mail of an invitation can be used", low=1, high=8760
)
