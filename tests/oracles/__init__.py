"""Reference implementations that tests hold the product against: plain, slow, one at a time."""
