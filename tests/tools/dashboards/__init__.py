"""The Grafana dashboards, as code: `python -m tests.tools.dashboards` writes deploy/grafana/*.json.

Each panel asks one question, which stands in its description; a misspelt metric fails a test, and
so does a panel that has nothing to show while everything runs.
"""
