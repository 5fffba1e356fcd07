"""Figures from our processes' own metrics: rates, quantiles, ages, processes that are away.

In order: `targets` names the processes, `scrape` asks them, `rates` computes readings from the
answers, and rates and quantiles from two readings. `dashboard` combines all of it, and `collect`
repeats that. `metric_names` has each metric's name once. Nothing here is an exception: a process
that does not answer is a figure of its own.
"""
