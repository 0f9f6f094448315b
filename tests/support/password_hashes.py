"""Password hashes for tests."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class FastHasher(PBKDF2PasswordHasher):
    """Hash with one round. Django's 1,000,000 rounds cost 0.3 s for each account and for each sign-in.

    The algorithm is the default one. So programs that a test starts can check these hashes.
    """

    iterations = 1
