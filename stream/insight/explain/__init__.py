"""Why a number is blocked, from end to end: entry, source, list, agreement, term, decision, sink.

`gather.chain` gives it whole, as plain values that JSON has too, so that the command and the page
show the same. `entries` asks the code that workers run, `terms` says which word of which agreement
decided, `then` has lists as they were, `decided` what was decided in fact, `delivered` what became
of that in proxies' Redis and at webhooks. Whatever cannot be asked is said in words.
"""
