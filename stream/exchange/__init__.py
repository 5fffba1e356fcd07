"""Lists across borders: a country's signed repository (TUF), hubs that carry them, bundles.

keys -> signing -> files (what lies on the disk) -> publish -> hub, bundle, inspect. All of it
blocks on the disk or the net: commands call it directly, a server would call it in a thread.
"""
