"""Reports on an agreement: what was promised, what happened, what to raise at the next meeting.

In this order: `period` (which days), `gather` (reads the records; the only one with input and
output), `pairs` and `figures` (counts). Then `pending` and `points` (what to raise), `whole` (all
of it), and `report_json` and `page` (the same figures for programs and for people).
"""
