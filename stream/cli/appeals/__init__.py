"""Commands about appeals."""
