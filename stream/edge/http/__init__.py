"""HTTP beside a switch: records in, verdicts and lists out, and the way back for who was blocked.

Layer: above `calls`, `lists` and `exchange`, below the configuration; what needs the whole
settings is handed in (`dependencies.Parts`). The composition is `stream/services/http.py`.

To add routes: a module here with `router = APIRouter(...)`, each route with `needs(Role...)` and
faults as `ProblemError`; a line in `ROUTERS` in `app.py`.
"""
