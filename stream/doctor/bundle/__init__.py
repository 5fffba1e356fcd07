"""What somebody who helps has to see, in one file that holds no secret and no whole number.

`contents` gathers it, each piece with why it is there; `scrub` is the last door: whatever goes into
the file goes through it, whoever made it; `archive` writes it, in bounded memory and size.
"""
