"""`[feeds]` of the settings."""

from dataclasses import dataclass
from typing import Annotated

from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedsSection:
    """`[feeds]`: where partners' feeds are described, and what one may cost."""

    dir: Annotated[str, Checked(checks.filled)]
    own_numbers: tuple[Annotated[str, Checked(checks.number_or_prefix)], ...]
    parallel: Annotated[int, Between(1, 64)]
    memory_mb_max: Annotated[int, Between(256, 1_000_000)]
    cpu_s_max: Annotated[float, Between(1, 86_400)]
    version_s_max: Annotated[float, Between(1, 86_400)]
    fetch_s_max: Annotated[float, Between(1, 86_400)]
    retry_s_first: Annotated[float, Between(0.1, 86_400)]
    retry_s_most: Annotated[float, Between(1, 86_400)]
    reload_s: Annotated[float, Between(0.1, 3600)]
    http_port: Annotated[int, Between(0, 65_535)]
