"""Ringfence on one machine for a first look: a demo, an exercise, and servers to run them on."""
