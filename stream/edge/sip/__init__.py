"""SIP for switches that can ask nothing else: a stateless redirect server (RFC 3261, 8.2.7, 8.3).

In order: `message` cuts messages out of a stream and reads one, `question` reads what is asked,
`response` checks a request and writes its answer; `rate_limits` bounds what each sender may cost.
`responder` is these for a batch, `udp` and `tcp` are the sockets.
"""
