"""The exercise: separate Ringfences on one machine, played as joint training, with known truth.

Each country has its own Redis database, keys, repository, state folder, topics and processes. Only
its own commands move it, as its operators would type them. Scenes (`scenes/`) say what is done and
what must come of it; `expect.py` compares; `story.py` tells and remembers. Nothing here is imported
by the product.
"""
