"""Transports: one file for each way by which a feed's bytes come in (see `transport.py`).

A feed's `kind` names its file (`stream.feeds.feed_sources`), which only such a feed loads.
"""
