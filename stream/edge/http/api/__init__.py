"""The interface of programs: typed answers, and the ways by which lists come in."""
