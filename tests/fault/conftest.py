"""Fixtures of the fault tests: see site.py."""

from tests.fault.site import raw, site

__all__ = ["raw", "site"]
