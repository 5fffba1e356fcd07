"""The sinks' processes, put together."""
