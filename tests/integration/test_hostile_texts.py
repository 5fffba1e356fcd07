"""Whatever stands in a form, an address or a body: no fault of ours, and nothing hidden is kept."""

import json
import re
from urllib.parse import quote, urlencode, urlsplit

import pytest
from aiohttp import ClientResponse
from yarl import URL

from stream.core.model.free_text import cleaned
from stream.edge.http.tokens import ClientRole
from tests.support.http_service import TOKENS, bearer
from tests.support.site import DECISIONS, NUMBERS, THEIRS, Site

HOSTILE = {
    "nul": "x\0y",
    "escape": "\x1b[2J\x1b]0;pwned\x07",
    "line ends": "x\r\nSet-Cookie: y=1",
    "direction": "\u202eevil",
    "euro": "/€/ไทย",
    "emoji": "😀" * 30,
    "half a pair": "\ud800",
    "long": "x" * 5000,
    "option": "--config=/etc/passwd",
    "quotes": "'\"><script>alert(1)</script>{{7*7}}%s%n",
    "empty": "",
    "blank": " \t ",
    "number": "9" * 400,
    "path": "../../../../etc/passwd",
}
FIELDS = (
    *("reason", "number", "list", "category", "contact", "days", "generation", "feed", "version"),
    *("thing", "standing", "trunk", "at", "theme", "back", "next", "token", "q"),
)
QUERY = ("q", "next", "sort", "page", "list", "actor", "before", "period", "from", "to", "state")


def encoded(text: str) -> str:
    """For an address, whatever it is: halves of a pair as three bytes, which no UTF-8 has."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


async def sane(answer: ClientResponse, text: str) -> None:
    """No fault of ours, nobody is sent elsewhere, and no header is the asker's."""
    body = await answer.text(errors="replace")
    assert answer.status < 500 or answer.status == 503, (answer.method, answer.url, body[-300:])
    where = answer.headers.get("Location", "/")
    parts = urlsplit(where)
    assert where.startswith("/"), where
    assert not where.startswith("//"), where
    assert (parts.scheme, parts.netloc) == ("", ""), where
    assert where.isascii()
    assert "y" not in answer.cookies
    assert "<script>alert" not in body, (answer.url, text)


@pytest.mark.parametrize("kind", HOSTILE)
async def test_no_text_is_a_fault_of_ours(site: Site, kind: str) -> None:
    """In every place of every route, sent by who may do everything."""
    text = HOSTILE[kind]
    cookie = await site.pages.sessions.begin(TOKENS[ClientRole.OPERATOR])
    found = await site.pages.sessions.find(cookie)
    assert found is not None
    form = {name: text.encode("utf-8", "surrogatepass") for name in FIELDS}
    query = "&".join(f"{name}={encoded(text)}" for name in QUERY)
    for method, path in sorted(set(site.routes())):
        if (method, path) in {("GET", "/events"), ("POST", "/sign-out")}:
            continue  # a stream; and the end of the session
        for address in {site.address(path, THEIRS), re.sub(r"\{\w+\}", encoded(text), path)}:
            whole = URL(address.partition("?")[0] + "?" + query, encoded=True)
            headers = {"Cookie": f"ringfence={cookie}", "Accept": "text/html"}
            if path.startswith("/v1/"):
                headers = bearer(ClientRole.OPERATOR)
            fields = {**form, "csrf": found[0].csrf.encode()}
            for more in ({}, {"reason": b"honest", "number": NUMBERS[THEIRS].encode()}):
                async with site.http.client.request(
                    method,
                    whole,
                    headers=headers | {"Content-Type": "application/x-www-form-urlencoded"},
                    data=urlencode(fields | more) if method == "POST" else None,
                    allow_redirects=False,
                ) as answer:
                    await sane(answer, text)


@pytest.mark.parametrize("kind", HOSTILE)
async def test_nothing_hidden_is_kept(site: Site, kind: str, raw) -> None:
    """Texts that people write over HTTP: refused with the reason, or stored printable."""
    text = HOSTILE[kind]
    said = json.dumps(text)
    client, plain = site.http.client, {"Content-Type": "application/json"}
    new = f'{{"decision_id": "{DECISIONS[THEIRS]}", "contact": {said}, "reason": {said}}}'
    async with client.post("/v1/appeals", data=new, headers=plain) as answer:
        await sane(answer, text)
        assert answer.status in {200, 201, 400}
    appeal = site.appeals[THEIRS]
    async with client.post(
        f"/v1/appeals/{appeal}/forward",
        data=f'{{"comment": {said}}}',
        headers=plain | bearer(ClientRole.OPERATOR),
    ) as answer:
        await sane(answer, text)
        assert answer.status in {200, 400, 409}
        if answer.status == 400:
            assert "comment" in (await answer.json(content_type=None))["detail"]
    kept = [entry for _, entry in raw.xrange("rf:audit")]
    kept += [raw.hget("rf:appeals", key) for key in raw.hkeys("rf:appeals")]
    assert kept
    for one in map(str, kept):
        assert cleaned(one.replace("\\x1b", "\x1b").replace("\\u202e", "\u202e")) == one, kind


async def test_a_reason_with_a_nul_is_refused_by_name(site: Site) -> None:
    """A form says which field, and where; nothing was done."""
    cookie = await site.pages.sessions.begin(TOKENS[ClientRole.OPERATOR])
    found = await site.pages.sessions.find(cookie)
    assert found is not None
    form = {"csrf": found[0].csrf, "reason": "x\0y", "number": NUMBERS[THEIRS]}
    headers = {"Cookie": f"ringfence={cookie}"}
    async with site.http.client.post("/number/allow", data=form, headers=headers) as answer:
        detail = (await answer.json(content_type=None))["detail"]
        assert answer.status == 400
        assert detail.startswith("the reason has a character that is not to be seen (U+0000, at 2)")


async def test_signing_in_leads_to_an_address_of_any_script(site: Site) -> None:
    """`next=/€` was a fault of ours; it is a page that is not there."""
    async with site.http.client.get("/sign-in", params={"next": "/€?q=ไทย"}) as answer:
        secret = re.search(r'name="csrf" value="([^"]+)"', await answer.text())
        cookies = {name: morsel.value for name, morsel in answer.cookies.items()}
    assert secret is not None
    form = {"csrf": secret[1], "token": TOKENS[ClientRole.OPERATOR], "next": "/€?q=ไทย"}
    async with site.http.client.post(
        "/sign-in", data=form, allow_redirects=False, cookies=cookies
    ) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/%E2%82%AC?q=%E0%B9%84%E0%B8%97%E0%B8%A2"


FROM_ELSEWHERE = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1"},
)


@pytest.mark.parametrize("headers", FROM_ELSEWHERE, ids=str)
async def test_another_site_can_have_nothing_done(site: Site, headers: dict[str, str]) -> None:
    """A browser that knows a token (Basic) adds it to what any site has it send: each route that
    takes a token and does something refuses that, whatever the role, and takes the same from us.
    """
    client, appeal = site.http.client, site.appeals[THEIRS]
    record = 'cdr={"call_id":"c","caller":"+447700900101","callee":"0812345678"}'
    for path, body, kind in (
        ("/v1/calls/ringfence", record, "application/x-www-form-urlencoded"),
        ("/v1/decision", '[{"caller":"+447700900101"}]', "text/plain"),
        (f"/v1/appeals/{appeal}/forward", '{"comment":"x"}', "application/json"),
    ):
        sent = bearer(ClientRole.OPERATOR) | {"Content-Type": kind}
        async with client.post(path, data=body, headers=sent | headers) as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["type"]) == (403, "urn:ringfence:problem:forged-form")
        ours = {"Sec-Fetch-Site": "same-origin", "Origin": site.http.address}
        async with client.post(path, data=body, headers=sent | ours) as answer:
            assert answer.status in {200, 202}, await answer.text()
    assert {path for method, path in site.routes() if method not in {"GET", "HEAD"}} >= {
        "/v1/calls/{dialect}"
    }
