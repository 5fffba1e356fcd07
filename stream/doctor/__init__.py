"""Checks of everything that an operator would look at when something is wrong; they change nothing.

A check is a function of the settings that gives lines; `examine` runs them, each within a time of
its own. A line has a grade and, unless that is OK, a command or setting that fixes the problem.
"""
