"""Settings from TOML files: types and limits of dataclasses, and what is wrong with a file."""
