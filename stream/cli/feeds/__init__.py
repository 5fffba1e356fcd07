"""Commands about partners' feeds."""
