"""Rooms where carriers connect: HTTP, SIP, sinks and the ingest of records from files."""
