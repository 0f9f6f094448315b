"""Queries for screens and API. They return rows of one tenant, together with other rows that explain them."""
