"""Explain why a number is blocked: entry, source, list, agreement, term, decision, sink.

`explain` gives it whole, as plain values that JSON has too, so command and page show the same.
`list_answers` asks the code that workers run, and `terms` names the term that decided. `at_time`
has lists as they were, `deliveries` the decisions about the number and the actions of sinks. What
cannot be asked is said in words.
"""
