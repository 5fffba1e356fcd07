"""A lookup with lists, rules and trunks of all kinds, for any client."""

from functools import partial
from typing import Any

from stream.calls.decide import Rules, decide
from stream.calls.decode import decode, from_fields
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.lookup import TOPIC, Lookup, LookupStatus
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunk, Trunks
from stream.config.settings import load
from stream.core.filters.blocklists import Blocklists, fresh
from stream.core.model.agreement import Agreements
from stream.core.model.allowlist import AllowEntry, Allowlist
from stream.core.model.call import Ingress
from stream.core.model.decision import Action, SipAnswerSettings
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.policy import PolicySettings, compile_bounded
from stream.core.policy.rules import RuleSettings, RuleState, RuleStates
from stream.kafka.batch import RawBatch
from tests.support.builders import NOW_S, bare, blocklists, live

NOW_MS = NOW_S * 1000 + 250
LISTED = [f"+4477009001{n:02d}" for n in range(20)]
LISTS = blocklists(
    live("XA/first", *LISTED[:8], expires_at_s=NOW_S + 60, confidence=40),
    live("XB/second", *LISTED[4:12], "+4477009003*", confidence=70),
    fresh("XC/bare", b"", bare("XC/bare", LISTED[10:15]), NOW_S),
    allow=Allowlist.of([AllowEntry(LISTED[0], "hospital", "ops", NOW_S)]),
)
TRUNKS = Trunks(
    "TH",
    {
        "gb": Trunk("GB"),
        "border": Trunk("TH", Ingress.INTERNATIONAL),
        "peer": Trunk("GB", vouches=True),
    },
)
REDRESS = "https://r.example/{decision_id}"


def lookup_rules(lists: Blocklists, redress_url: str = REDRESS) -> Rules:
    policy = load([], {}).policy
    settings = PolicySettings(
        default=policy.default,
        lists={},
        rules=RuleSettings(
            RuleStates(home_number_from_abroad=RuleState.BLOCK, invalid_caller=RuleState.FLAG),
            countries={"GB": {"invalid_caller": RuleState.BLOCK}},
            trunks={"border": {"roaming_mark": RuleState.SIMULATE}},
            do_not_originate_lists=("XB/second",),
        ),
        unasked=Action.FLAG,
        decision_ttl_s=3600,
    )
    return Rules(
        policy=compile_bounded(settings, lists.names, Agreements(()), "TH", NOW_S),
        emergency=EmergencyNumbers({}),
        trunks=TRUNKS,
        sip=SipAnswerSettings(redress_url, "TN"),
        emit_all=True,
    )


def decoded_lookup(raw: RawBatch) -> Any:
    return decode(raw, {TOPIC: RINGFENCE, "calls": RINGFENCE}, TRUNKS, DecodeSettings(65_536, True))


read = partial(from_fields, trunks=TRUNKS, check_callee=True)
"""The batch of questions, as a process that answers from memory makes it."""


def lookup_in(lists: Blocklists, *, loaded: bool = True, redress_url: str = REDRESS) -> Lookup:
    held = lookup_rules(lists, redress_url)
    return Lookup(
        read,
        lambda batch: decide(batch, lists, held, NOW_MS),
        lambda: LookupStatus(loaded, loaded),
        lambda: NOW_MS,
        TRUNKS,
    )
