"""A call's way: source -> decode -> decide -> publish -> commit, in that order, by `loop`."""
