"""Settings of the list store, apart from its client, which takes long to import."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListStoreSettings:
    """Address and settings of the list store. `timeout_s` bounds every single wait for it.

    `ca_file` (PEM; "": the system's), `cert_file` and `key_file` (of a client) are for rediss://.
    `named` are the setting and the variables that say where it is and who we are.
    `require_aof`: refuse a list store that would forget changes in a crash. `bases_kept` of a list
    stay for its past, those among them that were replaced more than `bases_kept_days` ago (0: no
    such limit) do not.
    """

    url: str
    username: str | None = None
    password: str | None = None
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    require_aof: bool = True
    timeout_s: float = 2.0
    bases_kept: int = 3
    bases_kept_days: float = 30.0
    named: tuple[str, str] = (
        "[redis] url",
        "RINGFENCE_REDIS_USERNAME and RINGFENCE_REDIS_PASSWORD",
    )
