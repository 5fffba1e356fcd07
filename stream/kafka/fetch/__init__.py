"""The fetcher: fetches of our own over connections that aiokafka opens, record batches as columns.

    fetcher -> broker -> connection -> broker -> fetched_batches -> fetcher

messages         a fetch and its answer, as bytes
connection       one socket, switched to receive straight into reused buffers
broker           one broker: connected again and again, one fetch on its way, two answers at most
partition_state  one partition: where it stands, what an error of its broker means
fetched_batches  answers -> records; what cannot be read is fetched again, skipped or stopped
fetcher          all of it as one `Reader`: leaders, and whose turn it is
"""
