"""Ringfence: call-detail records in from Kafka, block decisions out, within milliseconds.

Two ways meet in one value: a call's way (`stream.calls`) reads the immutable `Blocklists` that a
list's way (`stream.lists`) builds. `stream.core` holds the words both speak and touches no world.
"""

__version__ = "0.1.0"
