"""A call's way: source -> decode -> decide -> publish -> commit, awaited in that order by `loop`."""
