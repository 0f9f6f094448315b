"""The story that the screens show: one afternoon of the tenant "Northgate desk", with an incident in Payment capture.

The rows are written as the portal writes them, but no run has a workflow in Temporal. All times count from one moment,
so the story looks the same whenever it is told.
"""
