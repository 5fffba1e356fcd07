"""Fuzz targets: `python -m tests.fuzz.<name>`; each says how in its docstring."""
