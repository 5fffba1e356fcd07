"""A list's way: parse -> store -> build -> refresh; it ends in a whole new `Blocklists`."""
