"""What the shell shares: metrics, health, logs, the clock and retries."""
