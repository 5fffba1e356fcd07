"""Enforcement is reported back: decisions counted, sent to lists' owners in signed documents, and
partners' documents read: decision_counter -> documents | import_documents -> rounds.
"""
