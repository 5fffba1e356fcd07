"""Feeds: partners' lists on their way into the list store.

| stage | file | in -> out |
|---|---|---|
| fetch | `transports/`, by `follow/feed_follower.py` | a partner's server -> one complete file |
| open | `open.py` with `formats/` | the file -> `Rows` of texts |
| parse | `parse.py` with `value_parsers.py` | `Rows` -> numbers, times, categories; rejected rows |
| check | `row_checks.py`, `detection/lookalikes.py` | parsed rows -> rows that it may not bring |
| read | `read.py` | all three, for one file -> `VersionRead` |
| assess | `assess.py` with `diff.py` | `VersionRead` and the list -> facts about the version |
| gate | `gate.py` | facts -> verdict: accepted, same, held, refused |
| apply | `apply.py` in a process of its own (`follow/`) | verdict -> what is done |
| store | `store.py` | an accepted version -> the list store |

`version_files.py` keeps the files and `state_store.py` the state of a feed between its versions.
`import_file.py` is the way of a file that an operator loads. `detection/` proposes a feed file.
"""
