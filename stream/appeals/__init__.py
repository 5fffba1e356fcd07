"""A wrong block is put right: appeals, from receipt to answer.

appeal_store (appeals in Redis) -> actions (open, answer, close what is due).
"""
