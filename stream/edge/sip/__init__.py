"""SIP for switches that can ask nothing else: a stateless redirect server (RFC 3261, 8.2.7, 8.3).

In order: `message` cuts messages out of a stream and parses one, and `question` reads caller,
callee and trunk. `response` checks a request and writes its answer. `rate_limits` bounds the cost
of each sender. `responder` does all of it for a batch; `udp` and `tcp` are the sockets.
"""
