"""Commands about calls: decisions, why, replay, traceback, simulate, ingest, sinks, SIP."""
