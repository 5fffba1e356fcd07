"""HTTP beside a switch: records in, decisions and lists out, and appeals.

It is below the configuration: `stream/services/http.py` makes the parts that need the whole
settings, and hands them in (`dependencies.Parts`).

To add routes: a module here with `router = APIRouter(...)`, each route with `needs(Role...)` and
faults as `ProblemError`; a line in `ROUTERS` in `app.py`.
"""
