"""Call records in files to Kafka: for switches that only write files.

    tail or record_folder -> file_lines -> sender -> position_file

A position is kept only when Kafka has what stands before it: at least once, and after a kill
at most one batch comes again.
"""
