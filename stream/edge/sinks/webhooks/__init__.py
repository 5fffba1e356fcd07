"""Decisions as signed CloudEvents over HTTP, each endpoint by itself."""
