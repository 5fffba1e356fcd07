"""Settings of the list store, apart from its client, which takes long to import."""

from dataclasses import dataclass, field

from stream.ops.renewed_secret import Secret


@dataclass(frozen=True, slots=True)
class ListStoreSettings:
    """Address and settings of the list store. `timeout_s` bounds every single wait for it.

    `ca_file` (PEM; "": the system's), `cert_file` and `key_file` (of a client) are for rediss://.
    `sentinels` (host:port) name the primary of `sentinel_master`; of `url` only scheme and database
    count then. A change waits at most `wait_ms` for `wait_replicas`. `put_back`: followers give a
    list store that went back in a fail-over the changes that they know.
    `named` are the setting and the variables that say where it is and who we are.
    `require_aof`: refuse a list store that would forget changes in a crash. `bases_kept` of a list
    stay for its past, those among them that were replaced more than `bases_kept_days` ago (0: no
    such limit) do not.
    """

    url: str
    username: Secret | None = None
    password: Secret | None = field(default=None, repr=False)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    sentinels: tuple[str, ...] = ()
    sentinel_master: str = ""
    sentinel_tls: bool = False
    sentinel_username: Secret | None = None
    sentinel_password: Secret | None = field(default=None, repr=False)
    wait_replicas: int = 0
    wait_ms: int = 1000
    put_back: bool = False
    require_aof: bool = True
    timeout_s: float = 2.0
    bases_kept: int = 3
    bases_kept_days: float = 30.0
    named: tuple[str, str] = (
        "[redis] url",
        "RINGFENCE_REDIS_USERNAME and RINGFENCE_REDIS_PASSWORD",
    )

    @property
    def setting(self) -> str:
        """The setting that says where it is."""
        return self.named[0].replace(" url", " sentinels") if self.sentinels else self.named[0]

    @property
    def place(self) -> str:
        """The address for people: the URL, or the name that the sentinels know it by."""
        if not self.sentinels:
            return f"Redis at {self.url}"
        return f"Redis {self.sentinel_master} of sentinels {', '.join(self.sentinels)}"
