"""A wrong block is put right: appeals, from receipt to answer, and the records of past calls.

book (appeals in the register) -> redressing (what an answer does) -> watch (what is due). Beside
it: `kafka.topic_reader` (a topic between two moments), traceback (a number's calls, for an
authority).
"""
