"""Loaded by schemathesis itself: each request comes from the next role in turn, or from nobody."""

import json
import os
from collections import defaultdict
from itertools import cycle
from typing import Any

import schemathesis

WHO = [*json.loads(os.environ["RINGFENCE_TEST_TOKENS"]), None]
turns: dict[str, Any] = defaultdict(lambda: cycle(WHO))


@schemathesis.hook
def before_call(_: Any, case: Any, kwargs: Any) -> None:
    """Take the token away, or put another's in its place, whatever was generated."""
    token = next(turns[case.operation.label])
    headers = dict(case.headers or {})
    for name in [name for name in headers if name.lower() == "authorization"]:
        del headers[name]
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    case.headers = headers
