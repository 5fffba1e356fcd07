"""Promotions and demotions: kept by the register (`book`), followed by every process that decides
(`following`), and known to a start without the register (`shelf`).
"""
