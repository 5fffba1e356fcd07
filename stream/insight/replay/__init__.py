"""Yesterday's calls against a candidate: what would change if it were in force.

Read (`reading`), decided twice with the engine's own deciding (`comparing`), summed up in bounded
memory (`sums`), looked through once more for those who called back (`running`); then the same
figures as a table, a page and JSON (`telling`, `page`, `as_json`).
"""
