"""The names of the list store's keys in Redis. All of ours begin with `rf:`.

| key | type | holds |
|---|---|---|
| `rf:register` | hash | `id`, `created_at_s`, `format`: identity of the list store |
| `rf:lists` | set | names of all lists |
| `rf:lists:deleted` | hash | name of a list that was deleted -> its last generation and chain |
| `rf:list:{NAME}` | hash | generation, base, chain, circle, count, created_at_s, actor, scope |
| `rf:list:{NAME}:changed` | hash | fingerprint (hex) -> last change of that number since the base |
| `rf:list:{NAME}:bases` | list | generations of the bases kept, newest first |
| `rf:list:{NAME}:writing` | hash | generations of bases not published yet -> id of that step |
| `rf:list:{NAME}:base:G` | hash | manifest and layout of the base of generation G, its publishing |
| `rf:list:{NAME}:base:G:I` | string | its blobs, see bases.py |
| `rf:changes` | stream | every change of every list, and of the allowlist |
| `rf:past` | stream | older steps of `rf:changes`, 500 to an item, see past_reader.py |
| `rf:past:upto` | string | the id of the last step that is packed there |
| `rf:audit` | stream | who changed what, when and why |
| `rf:audit:head` | hash | the last audit entry: count, hash, id |
| `rf:feed:{NAME}` | hash | a feed: last accepted, held and refused version, last try |
| `rf:enforced:{LIST}:DAY` | hash | counts of one UTC day, see below |
| `rf:enforced:{LIST}:DAY:peaks` | zset | the greatest: `in_force` and `first` in ms, `stale` in s |
| `rf:enforced:{LIST}:PERIOD:CATEGORY` | set | numbers stopped in a day or month, the first 4,096 |
| `rf:enforced:{LIST}:PERIOD:CATEGORY:all` | HyperLogLog | the same, however many |
| `rf:enforced:{LIST}:fresh` | zset | fingerprints that came lately -> when published, ms |
| `rf:enforced:{LIST}:sightings` | hash | `DAY FINGERPRINT` -> who saw that it is no scammer's |
| `rf:enforced:{LIST}:by:COUNTRY` | hash | DAY -> the document of that country, ours too |
| `rf:enforced:read:COUNTRY` | hash | document's name -> SHA-256 of the file last looked at |
| `rf:enforced:refused:COUNTRY` | hash | document's name -> why it was not taken |
| `rf:enforced:sighted:{LIST}` | hash | `COUNTRY FINGERPRINT APPEAL` -> when it was taken over |
| `rf:enforced:at:PARTITION` | hash | `offset`: how far decisions are counted; `place` in `seen` |
| `rf:enforced:seen:PARTITION` | string | the ids counted last, 8 bytes each, as a ring |
| `rf:enforced:counted` | set | the partitions that are counted |
| `rf:enforced:feeds` | hash | LIST -> the feed that brings it |
| `rf:allow`, `rf:allow:head` | hashes | the allowlist and its head: generation, chain |
| `rf:put_back` | string | lock of a process that puts back what a fail-over lost |
| `rf:trials`, `rf:trials:head` | hashes | promotions and demotions by target; generation |
| `rf:decided:DAY` | hash | id of a decision -> the record, see `edge/http/decision_store.py` |
| `rf:decided:DAY:before` | hash | the same: the older ones of a day that has many |
| `rf:names` | string | the key of ids that no call led to, see `edge/sinks/preload_ids.py` |
| `rf:session:SHA256` | string | a person who is signed in to the page, see `web/sessions.py` |
| `rf:views:TABLE:PERSON` | hash | name -> filters of a table of the page, see `web/listing.py` |
| `rf:once:SHA256` | string | the answer to a request, see `edge/http/api/idempotency.py` |
| `rf:once` | zset | the hashes of those answers, by when |
| `rf:restoring:KEY` | as KEY | what a restore writes, until all of it goes live at once |
| `rf:appeals` | hash | id of an appeal -> its version and record |
| `rf:appeals:open` | zset | ids of those that wait for an answer, by deadline |
| `rf:appeals:closed` | zset | ids of those that were answered, by when |
| `rf:appeals:state:STATE` | zset | the ids in one state, by receipt |
| `rf:appeals:list:{NAME}` | zset | the ids that name a list, by receipt |
| `rf:appeals:decisions`, `rf:appeals:subjects` | hashes | decision, number under appeal -> id |

Fields of a day in `rf:enforced`: `calls:CATEGORY:OUTCOME`, `in_force:STEP`, `first:STEP`,
`versions:VERDICT`; for steps see `core.model.delays`.
"""

from datetime import date

IDENTITY = "rf:register"
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
PUT_BACK = "rf:put_back"
ONCE = "rf:once"
APPEALS = "rf:appeals"
APPEALS_OPEN = "rf:appeals:open"
APPEALS_DECISIONS = "rf:appeals:decisions"
ENFORCED_COUNTED = "rf:enforced:counted"
ENFORCED_FEEDS = "rf:enforced:feeds"


def head(name: str) -> str:
    """Return the key of a list's head."""
    return f"rf:list:{{{name}}}"


def changed(name: str) -> str:
    """Return the key of a list's changes since its base."""
    return f"{head(name)}:changed"


def bases(name: str) -> str:
    """Return the key of the generations of the bases that are kept."""
    return f"{head(name)}:bases"


def writing(name: str) -> str:
    """Return the key of the bases that are being written, or whose writer died."""
    return f"{head(name)}:writing"


def base(name: str, generation: int) -> str:
    """Return the key of one base's manifest and layout; its blobs are `<this>:<i>`."""
    return f"{head(name)}:base:{generation}"


def feed(name: str) -> str:
    """Return the key of the state of feed `name`."""
    return f"rf:feed:{{{name}}}"


def session(digest: str) -> str:
    """Return the key of a person's session at the page, by the SHA-256 of the cookie."""
    return f"rf:session:{digest}"


def views(table: str, person: str) -> str:
    """Return the key of the views of a table that a person saved at the page."""
    return f"rf:views:{table}:{person}"


def once(digest: str) -> str:
    """Return the key of an answer that is kept by its request's key."""
    return f"rf:once:{digest}"


def decided(day: str) -> str:
    """Return the key of the decisions of one UTC day, `2026-11-25`, by id."""
    return f"rf:decided:{day}"


def decided_before(day: str) -> str:
    """Return the key of the older decisions of a day that has many."""
    return f"rf:decided:{day}:before"


def appeals_in(state: str) -> str:
    """Return the key of the appeals in one state."""
    return f"rf:appeals:state:{state}"


def appeals_about(name: str) -> str:
    """Return the key of the appeals that name list `name`."""
    return f"rf:appeals:list:{{{name}}}"


def enforced_day(list_name: str, of: date) -> str:
    """Return the key of the counts of one day."""
    return f"rf:enforced:{{{list_name}}}:{of.isoformat()}"


def enforced_peaks(list_name: str, of: date) -> str:
    """Return the key of the greatest delays and ages of one day."""
    return f"{enforced_day(list_name, of)}:peaks"


def enforced_numbers(list_name: str, period: str, category: str) -> str:
    """Return the key of the numbers stopped in a period, `2026-11-25` or `2026-11`."""
    return f"rf:enforced:{{{list_name}}}:{period}:{category}"


def enforced_fresh(list_name: str) -> str:
    """Return the key of numbers new on the list, until the first call of each was stopped."""
    return f"rf:enforced:{{{list_name}}}:fresh"


def enforced_sightings(list_name: str) -> str:
    """Return the key of the list's numbers that were found to be no scammers'."""
    return f"rf:enforced:{{{list_name}}}:sightings"


def enforced_documents(list_name: str, country: str) -> str:
    """Return the key of a country's documents on the list."""
    return f"rf:enforced:{{{list_name}}}:by:{country}"


def enforced_read(country: str) -> str:
    """Return the key of the files of a country that were read."""
    return f"rf:enforced:read:{country}"


def enforced_refused(country: str) -> str:
    """Return the key of the refused documents of a country."""
    return f"rf:enforced:refused:{country}"


def enforced_sighted(list_name: str) -> str:
    """Return the key of the partners' sightings that our list already has."""
    return f"rf:enforced:sighted:{{{list_name}}}"


def enforced_at(partition: str) -> str:
    """Return the key of the position in a partition of decisions."""
    return f"rf:enforced:at:{partition}"


def enforced_seen(partition: str) -> str:
    """Return the key of the decisions of a partition that were counted last."""
    return f"rf:enforced:seen:{partition}"
