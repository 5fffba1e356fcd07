"""The client of a partner's signed repository (The Update Framework)."""
