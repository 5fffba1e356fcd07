"""What our processes' own metrics say at the moment: rates, quantiles, ages, who is away.

`names` has each metric's name once, `reading` turns `/metrics` into samples, `reckon` turns two
readings into rates and quantiles (all three are pure), `picture` puts the whole together, `places`
and `fetch` read the processes, `watch` does so again and again. Nothing here is an exception: a
process that does not answer is a figure of its own.
"""
