"""The fetcher: fetches of our own over connections that aiokafka opens; record batches as columns.

One path, on which each file hands over to the next:

    connection       bytes of a socket, received into reused buffers
    broker           answers of one broker, and what is fetched from it next
    fetched_batches  answers that wait, read as columns of records
    fetcher          the next batch: all of it, with leaders and faults

messages (a fetch and its answer, as bytes), partition_state (where one partition stands) and
decompress (the records of a compressed batch) serve all of them.
"""
