"""Call records in files to Kafka: the door for switches that only write files.

    tail or folder -> lines -> sender -> state

A place is kept (`state`) only when Kafka has what stands before it: at least once, and after a kill
at most one batch comes again.
"""
