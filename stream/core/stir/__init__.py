"""STIR/SHAKEN: what others say, with a signature or without, about a call's right to its number."""
