"""One file per way by which a feed's bytes come in; see `stream.feeds.transport` for the promises.

A feed's `kind` names the file (`stream.feeds.feed_sources`), which is loaded for such a feed only.
"""
