"""Access over HTTP: every route of the application, with every role.

The table `tests/golden/access.md` is what people read and decide on; here it is compared with what
the running application does. A route without a row, and a row without a route, fail too.
"""

import difflib
import json
import re
from pathlib import Path
from urllib.parse import urlencode

from stream.edge.http.tokens import ClientRole
from tests.support.http_service import TOKENS
from tests.support.site import DECISIONS, FOREIGN, LISTED, NUMBERS, THEIRS, Site

TABLE = Path(__file__).parents[1] / "golden" / "access.md"
NOBODY = "nobody"
WHO = (NOBODY, *(role.value for role in ClientRole))
_REFUSALS = {"not-authenticated", "wrong-role"}


async def asked(site: Site, method: str, path: str, who: str, owner: str) -> str | None:
    """Return the answer to a request about data of `owner`; None: it was refused.

    "": there is no such thing, for who asks. Forms come without a reason, so that nothing changes.
    """
    headers, data = {"Accept": "text/html"}, None
    if path.startswith("/v1/"):
        headers = {} if who == NOBODY else {"Authorization": f"Bearer {TOKENS[ClientRole(who)]}"}
        if method == "PUT":
            data = "a file"
        elif method == "POST" and path.endswith("changes"):
            headers["Content-Type"] = "application/json"
            data = json.dumps({"reason": "", "remove": [NUMBERS[owner]]})
        elif method == "POST" and path.endswith("s"):
            headers["Content-Type"] = "application/json"
            data = json.dumps({"decision_id": DECISIONS[owner]})
        elif method == "POST" and path == "/v1/decision":
            data = json.dumps([{"caller": NUMBERS[owner]}])
        elif method == "POST" and path.endswith("{dialect}"):
            headers["Content-Type"] = "application/json"
            data = json.dumps({"call_id": "c", "caller": NUMBERS[owner], "callee": "0812345678"})
    elif who != NOBODY:
        cookie = await site.pages.sessions.begin(TOKENS[ClientRole(who)])
        headers["Cookie"] = f"ringfence={cookie}"
        found = await site.pages.sessions.find(cookie)
        assert found is not None
        fields = {"csrf": found[0].csrf, "number": NUMBERS[owner]}
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            data = urlencode(fields)
    async with site.http.client.request(
        method,
        site.address(path, owner),
        headers=headers | {"Accept": "application/json"}
        if path.startswith("/v1/")
        else headers | {"Accept": "*/*"},
        data=data,
        allow_redirects=False,
    ) as answer:
        assert answer.status < 500, (method, path, who, await answer.text())
        if answer.headers.get("Location", "").startswith("/sign-in?"):
            return None
        if answer.content_type == "application/problem+json":
            problem = json.loads(await answer.read())
            kind = problem["type"].rpartition(":")[2]
            if kind in _REFUSALS:
                return None
            return "" if kind == "not-found" else problem["detail"]
        if answer.content_type == "text/event-stream":
            return (await answer.content.readany()).decode()
        return await answer.text()


async def cell(site: Site, method: str, path: str, who: str) -> str:
    """Return the rights of `who` there, in the words of the table."""
    found = {owner: await asked(site, method, path, who, owner) for owner in LISTED}
    if None in found.values():
        assert set(found.values()) == {None}, (method, path, who)
        return "-"
    said = "".join(text or "" for text in found.values())
    seen = {owner for owner in LISTED if any(one in said for one in site.marks(owner))}
    their_own = seen == {THEIRS} or (found[FOREIGN] == "" != found[THEIRS])
    whole = any(number in said for number in NUMBERS.values())
    return ("own" if their_own else "yes") + (" +" if whole else "")


async def test_every_role_gets_what_the_table_says(site: Site) -> None:
    """Each route of the application, asked as nobody and as each role, answers as the table says:
    refused, let in, only to what is one's own, and with whole numbers or without.
    """
    rows = [f"| {'route':44} | {' | '.join(f'{who:8}' for who in WHO)} |"]
    rows.append(f"|{'-' * 46}|{'|'.join('-' * 10 for _ in WHO)}|")
    for method, path in sorted(set(site.routes()), key=lambda one: (one[1], one[0])):
        cells = [await cell(site, method, path, who) for who in WHO]
        rows.append(f"| {method + ' ' + path:44} | {' | '.join(f'{one:8}' for one in cells)} |")
    written = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    told = "\n".join(difflib.unified_diff(written, rows, "the table", "the server", lineterm=""))
    assert not told, told


async def test_the_document_says_which_routes_need_a_token(site: Site) -> None:
    """OpenAPI names a security scheme for the routes that refuse nobody, and for no others."""
    async with site.http.client.get("/openapi.json") as answer:
        document = await answer.json()
    written = dict(re.findall(r"^\| (\w+ /\S*) +\| (-|yes|own)", TABLE.read_text(), re.MULTILINE))
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            assert f"{method.upper()} {path}" in written
            needs_token = written[f"{method.upper()} {path}"] == "-"
            assert bool(route.get("security")) == needs_token, (method, path)
