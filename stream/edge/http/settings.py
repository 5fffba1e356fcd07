"""`[serve]`: where HTTP is served, and what one client may cost."""

from dataclasses import dataclass
from typing import Annotated

from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked, Problem, Problems


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """The limits of `ringfence serve`. Sizes in bytes, times in seconds."""

    host: Annotated[str, Checked(checks.filled)]
    port: Annotated[int, Between(0, 65_535)]
    health_port: Annotated[int, Between(0, 65_535)]
    cert_file: str
    key_file: str
    trusted_proxies: str
    connections_max: Annotated[int, Between(1, 100_000)]
    header_bytes_max: Annotated[int, Between(1024, 1024 * 1024)]
    header_s_max: Annotated[float, Between(0.1, 600)]
    body_bytes_max: Annotated[int, Between(1024, 1024 * 1024 * 1024)]
    body_s_max: Annotated[float, Between(0.1, 3600)]
    bodies_bytes_max: Annotated[int, Between(1024, 64 * 1024 * 1024 * 1024)]
    file_bytes_max: Annotated[int, Between(1024, 16 * 1024 * 1024 * 1024)]
    file_s_max: Annotated[float, Between(0.1, 86_400)]
    files_at_once: Annotated[int, Between(1, 100)]
    once_max: Annotated[int, Between(1, 10_000_000)]
    answer_s_max: Annotated[float, Between(0.1, 3600)]
    idle_s_max: Annotated[float, Between(0.1, 3600)]
    kafka_s_max: Annotated[float, Between(0.1, 3600)]
    kafka_bytes_max: Annotated[int, Between(1024, 64 * 1024 * 1024 * 1024)]
    decisions_days: Annotated[int, Between(1, 366)]
    decisions_max: Annotated[int, Between(1, 100_000_000)]
    questions_per_minute: Annotated[int, Between(1, 100_000)]
    refusals_per_minute: Annotated[int, Between(1, 100_000)]
    session_idle_s: Annotated[int, Between(60, 30 * 86_400)]
    session_s: Annotated[int, Between(60, 30 * 86_400)]
    watchers_max: Annotated[int, Between(1, 10_000)]

    def __post_init__(self) -> None:
        found = checks.tls_files("", self.cert_file, self.key_file)
        if self.bodies_bytes_max < self.body_bytes_max:
            text = f"must be at least body_bytes_max ({self.body_bytes_max})"
            found.append(Problem(("bodies_bytes_max",), text))
        if found:
            raise Problems(found)
