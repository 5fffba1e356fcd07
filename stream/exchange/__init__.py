"""Lists across borders: a country's signed repository (TUF), and copies of it: hubs, bundles.

signing_keys -> signing -> repository_files (on the disk) -> repository -> publisher, mirror. All of
it blocks on the disk or the net: commands call it directly, a service calls it in a thread.
"""
