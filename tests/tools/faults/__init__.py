"""Each alert's fault, caused for real: `python -m tests.tools.faults` (half an hour).

It starts Kafka, two Redis and all of our processes, and a real Prometheus that scrapes them every
second with the rules of deploy/prometheus made 30 times faster (`clock.py` says how). Each scene
causes one fault, waits until the alert fires, fixes it, waits until the alert has cleared, and
prints how long that took. What Prometheus scraped meanwhile becomes input for `promtool test rules`
(tests/golden/alerts), with the clock slowed down again: so the rules as they are shipped are tested
on it in `make test`.
"""
