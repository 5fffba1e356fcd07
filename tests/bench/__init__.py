"""Benchmarks: what Ringfence costs beside what its users would write without it (`make bench`).

Every figure is the median of interleaved rounds in one run on one machine; only ratios within one
run mean anything. Broker, Redis and load stand on one core, the peer under test on another.
Nothing here is a test: `make test` times nothing.
"""
