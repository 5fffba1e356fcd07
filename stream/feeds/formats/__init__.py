"""One file per feed format: bytes of a partner's file -> rows and rejected rows."""
