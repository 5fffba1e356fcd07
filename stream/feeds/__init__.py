"""A feed's way: transport, open, parse, check, assess, gate, apply, store.

`read` takes a version through the first stages, `apply` through the others; `job` does it in a
process of its own. `transports` brings bytes, `formats` reads them, `detection` proposes a format.
"""
