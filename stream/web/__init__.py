"""The page: what operators look at and change, rendered on the server, over `stream.edge.http`.

Layer: above the configuration and the commands' own functions, which it calls as the commands do;
below `stream/services/http.py`, which installs it. Templates and assets lie in `stream/edge/http`.

To add a page: a module here with `router = APIRouter(include_in_schema=False)`, whose routes take
`Annotated[Visit, sees(Role...)]` and give `visit.page("x.html", ...)`, whose changes take
`Annotated[Change, changes(Role...)]` and end with `change.done("/where", "what was done")`; a
template in `stream/serve/pages` that extends base.html (macros: parts.html); a line in `ROUTERS`
(install.py) and one in `ENTRIES` (frame.py); a test with tests/support/browser.py.
"""
