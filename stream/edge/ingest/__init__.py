"""Call records in files to Kafka: for switches that only write files.

    tail, record_folder or remote_folder -> file_lines -> sender -> position_file

A position is saved only when Kafka has everything before it: at least once. After a kill at most
one batch is sent twice.
"""
