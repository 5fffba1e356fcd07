"""The words of Ringfence: pure values and functions; no clock, socket, log or environment."""
