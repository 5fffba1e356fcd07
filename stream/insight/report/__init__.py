"""Reports on an agreement: what was promised, what happened, what to raise at the next meeting.

In this order: `period` (which days), `gather` (reads what was recorded; the only one that touches
the world), `pairs` and `figures` (counts), `pending` and `points` (what to raise), `whole` (all of
it), then `report_json` and `page` (the same figures for programs and for people).
"""
