"""The named alternatives, each written as its users would write it."""
