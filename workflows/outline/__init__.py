"""Outline of a definition and the state of its steps in one run. Pure: no Django, no database, no clock.

Source: docs/reference/screens.md#run-page
"""
