"""What lists did, as counted in Redis: keys, what is written there, and the book of it.

A followed version is noted when it is accepted (`notes`); calls are counted from recorded decisions
and documents kept (`book`).
"""
