"""Logins of the database and their rights (docs/administrators.md#database-logins)."""
