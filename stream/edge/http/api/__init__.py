"""What programs send and get as JSON: typed answers, and the ways by which lists come in."""
