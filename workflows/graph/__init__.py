"""Graph of a definition: its steps as nodes, frames and lines, and the place of each on a picture.

Rule: the package is pure. It knows no database, no clock and no colours. It accepts every document, also one with
errors, and it never returns an empty picture.

Source: docs/reference/screens.md#graph
"""
