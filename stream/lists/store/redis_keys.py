"""The names of the register's keys in Redis. All of ours begin with `rf:`.

| key | type | holds |
|---|---|---|
| `rf:register` | hash | `id`, `created_at_s`, `format`: which register this is |
| `rf:lists` | set | names of all lists |
| `rf:lists:deleted` | hash | name of a list that was deleted -> its last generation and chain |
| `rf:list:{NAME}` | hash | generation, base, chain, circle, count, created_at_s, actor, scope |
| `rf:list:{NAME}:changed` | hash | fingerprint (hex) -> last change of that number since the base |
| `rf:list:{NAME}:bases` | list | generations of the bases kept, newest first |
| `rf:list:{NAME}:writing` | hash | generations of bases not published yet -> id of that step |
| `rf:list:{NAME}:base:G` | hash | manifest and layout of the base of generation G, its publishing |
| `rf:list:{NAME}:base:G:I` | string | its blobs, see `packing.py` |
| `rf:changes` | stream | every change of every list, and of the allowlist |
| `rf:past` | stream | older steps of `rf:changes`, 5,000 packed into each item, see `archive.py` |
| `rf:past:upto` | string | the id of the last step that is packed there |
| `rf:audit` | stream | who changed what, when and why |
| `rf:audit:head` | hash | the last audit entry: count, hash, id |
| `rf:feed:{NAME}` | hash | a feed: last accepted, held and refused version, last try |
| `rf:enforced:...` | several | what lists did, see `enforced/keys.py` |
| `rf:allow`, `rf:allow:head` | hashes | the allowlist and its head: generation, chain |
| `rf:trials`, `rf:trials:head` | hashes | promotions and demotions by target; generation |
| `rf:decided:DAY` | hash | id of a decision -> what is kept of it, see `serve/kept.py` |
| `rf:names` | string | the key of ids that no call led to, see `sinks/names.py` |
| `rf:session:SHA256` | string | a person who is signed in to the page, see `web/sessions.py` |
| `rf:appeals` | hash | id of an appeal -> its version and record |
| `rf:appeals:open` | zset | ids of those that wait for an answer, by deadline |
| `rf:appeals:closed` | zset | ids of those that were answered, by when |
| `rf:appeals:state:STATE` | zset | the ids in one state, by receipt |
| `rf:appeals:list:{NAME}` | zset | the ids that name a list, by receipt |
| `rf:appeals:decisions`, `rf:appeals:subjects` | hashes | decision, number under appeal -> id |
"""

REGISTER = "rf:register"
LISTS = "rf:lists"
CHANGES = "rf:changes"
PAST = "rf:past"
PAST_UPTO = "rf:past:upto"
AUDIT = "rf:audit"
AUDIT_HEAD = "rf:audit:head"
ALLOW = "rf:allow"
ALLOW_HEAD = "rf:allow:head"
TRIALS = "rf:trials"
TRIALS_HEAD = "rf:trials:head"
NAMES = "rf:names"
APPEALS = "rf:appeals"
APPEALS_OPEN = "rf:appeals:open"
APPEALS_DECISIONS = "rf:appeals:decisions"


def head(name: str) -> str:
    """The head of list `name`."""
    return f"rf:list:{{{name}}}"


def changed(name: str) -> str:
    """The changes of list `name` since its base."""
    return f"{head(name)}:changed"


def bases(name: str) -> str:
    """The generations of the bases that are kept."""
    return f"{head(name)}:bases"


def writing(name: str) -> str:
    """The bases of list `name` that are being written, or were by somebody who died."""
    return f"{head(name)}:writing"


def base(name: str, generation: int) -> str:
    """Manifest and layout of one base; its blobs are `<this>:<i>`."""
    return f"{head(name)}:base:{generation}"


def feed(name: str) -> str:
    """What is remembered of feed `name`."""
    return f"rf:feed:{{{name}}}"


def session(digest: str) -> str:
    """One person's sitting at the page, by the SHA-256 of the cookie."""
    return f"rf:session:{digest}"


def decided(day: str) -> str:
    """What was decided on one UTC day, `2026-11-25`, by id."""
    return f"rf:decided:{day}"


def appeals_in(state: str) -> str:
    """The appeals in one state."""
    return f"rf:appeals:state:{state}"


def appeals_about(name: str) -> str:
    """The appeals that name list `name`."""
    return f"rf:appeals:list:{{{name}}}"
