"""SIP for switches that can ask nothing else: a stateless redirect server (RFC 3261, 8.2.7, 8.3).

In order: `framing` cuts messages out of a stream, `message` reads one, `checks` says whether it can
be worked on, `asking` what is asked, `answering` writes the answer; `sources` bounds what each
sender may cost. `responder` is these for a batch, `udp` and `tcp` are the sockets.
"""
