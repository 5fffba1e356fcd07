"""Things on trial, side by side with what is in force: what they would have done (`figures`), where
each stands and why (`standing`), gathered from Kafka and the register (`gather`), and the one step
by which an operator takes one into force or back (`turning`).
"""
