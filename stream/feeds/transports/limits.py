"""Limits that several transports have in their settings, with what they may be."""

from typing import Annotated

from stream.ops.schema.toml import Between

BYTES_MAX = 256 * 1024 * 1024
"""Ten million numbers in CSV with all fields have about this size."""

BytesMax = Annotated[int, Between(1, 16 * 1024**3)]
Seconds = Annotated[float, Between(0.01, 86_400)]
Rate = Annotated[int, Between(0, 1_000_000_000)]
