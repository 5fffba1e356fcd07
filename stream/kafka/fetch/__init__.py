"""The fast lane: fetches of our own over connections that aiokafka opens, records as columns.

messages     a fetch and its answer, as bytes
connection   one socket, switched to receive straight into reused buffers
link         one broker: connected again and again, one fetch on its way, two answers at most
reading      one partition: where it stands, what an error of its broker means
pieces       answers -> records, what can not be read stopped, skipped or left to aiokafka
reader       all of it as one `Reader`: leaders, and whose turn it is
"""
