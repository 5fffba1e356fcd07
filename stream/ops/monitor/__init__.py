"""Figures from our processes' own metrics: rates, quantiles, ages, processes that are away.

In order: `targets` names the processes, `scrape` asks them, `rates` makes readings of the answers
and rates and quantiles of two readings, `dashboard` puts the whole together, `collect` does so
again and again. `metric_names` has each metric's name once. Nothing here is an exception: a process
that does not answer is a figure of its own.
"""
