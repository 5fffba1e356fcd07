"""Decisions that no call led to: what stands behind the id of a preloaded key, or a prefix's."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from redis.asyncio import Redis

from stream.core.model.decision import Decision, Reason, Role, Verdict
from stream.core.model.entry import NEVER
from stream.core.model.moments import rfc3339_ms
from stream.edge.sinks.number_policy import Blocked, Judge
from stream.edge.sinks.preload_id_key import names_in
from stream.edge.sinks.preload_ids import Names
from stream.lists.store.redis_client import renamed
from stream.ops.clock import now_ms, now_s


@dataclass(slots=True)
class Preloaded:
    """Looks behind ids. `judge` gives the lists of the moment. Raises ListStoreDown."""

    redis: Redis
    judge: Callable[[], Judge]
    _names: Names | None = field(init=False, default=None)

    async def find(self, decision_id: str) -> Decision | None:
        """What is decided now about the number whose id this is; None: nobody's, or it may call."""
        if self._names is None:
            with renamed("reading the key of ids"):
                self._names = await names_in(self.redis)
        text = self._names.text(decision_id)
        if text is None:
            return None
        judge, at_s = self.judge(), now_s()
        is_prefix = text.endswith("*")
        why = (
            judge.prefixes(at_s).get(text[:-1])
            if is_prefix
            else judge.numbers(np.array([text], "S16"), at_s).get(0)
        )
        return None if why is None else _decision(judge, decision_id, text, why)


def _decision(judge: Judge, decision_id: str, text: str, why: Blocked) -> Decision:
    confirmed = why.reason != "unconfirmed"
    ends = None if why.expires_at_s == NEVER else rfc3339_ms(why.expires_at_s * 1000)
    is_prefix = text.endswith("*")
    generations = {live.name: live.generation for live in judge.blocklists.lists}
    reason = Reason(
        list=why.list,
        category=why.reason if confirmed else None,
        confirmed=confirmed,
        confidence=None,
        generation=generations.get(why.list, 0),
        expires_at=ends,
    )
    return Decision(
        decision_id=decision_id,
        verdict=Verdict.BLOCK,
        simulated=False,
        rule=f"list:{why.list}",
        number=None if is_prefix else text,
        role=Role.CALLER,
        call_id="",
        caller=None,
        callee=None,
        reasons=[reason],
        sip=None,
        called_at=None,
        decided_at=rfc3339_ms(now_ms()),
        expires_at=ends,
        origin="",
    )
