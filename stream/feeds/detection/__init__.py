"""Detect the format of a partner's file, and propose a feed file with open questions."""
