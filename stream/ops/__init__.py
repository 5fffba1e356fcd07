"""Shared by all processes: metrics, health, logs, traces, tasks, the clock and retries."""
