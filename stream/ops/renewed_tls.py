"""TLS contexts whose certificates are renewed without a restart.

Certificates of today live for 90 days or fewer, and what renews them writes new files in place of
the old ones. The files are looked at when a connection begins, so no task has to watch them.
"""

import logging
from pathlib import Path
from ssl import (
    CERT_REQUIRED,
    PROTOCOL_TLS_CLIENT,
    PROTOCOL_TLS_SERVER,
    MemoryBIO,
    Purpose,
    SSLContext,
    SSLObject,
    create_default_context,
)
from typing import Any, Self

from stream.ops.private_files import FileStamp, file_stamp

log = logging.getLogger(__name__)


class RenewedContext(SSLContext):
    """A context that loads its files again once they have changed, at the next connection.

    Files that do not fit change nothing, for example while the second of them is still to be
    written. The former ones stay in use, one line is logged, and the next connection reads them
    again. An authority that is taken out of `ca_file` counts until a restart: OpenSSL only adds.
    """

    _files: tuple[str, str, str] = ("", "", "")
    _loaded: tuple[FileStamp, ...] = ()
    _refused: tuple[FileStamp, ...] = ()

    @classmethod
    def of_client(cls, ca_file: str, cert_file: str, key_file: str) -> Self:
        """Return one for connections to servers, whose names are checked; "": the system's CAs.

        Raises OSError, which SSLError is, for files that cannot be used.
        """
        context = cls(PROTOCOL_TLS_CLIENT)
        context.verify_flags = create_default_context().verify_flags
        if not ca_file:
            context.load_default_certs(Purpose.SERVER_AUTH)
        return context._begun(ca_file, cert_file, key_file)

    @classmethod
    def of_server(cls, cert_file: str, key_file: str, client_ca_file: str = "") -> Self:
        """Return one for a server; with `client_ca_file` clients need a certificate of theirs.

        Raises OSError for files that cannot be used.
        """
        context = cls(PROTOCOL_TLS_SERVER)
        if client_ca_file:
            context.verify_mode = CERT_REQUIRED
        return context._begun(client_ca_file, cert_file, key_file)

    def wrap_bio(
        self, incoming: MemoryBIO, outgoing: MemoryBIO, *more: Any, **named: Any
    ) -> SSLObject:
        """Begin a connection, as asyncio does it."""
        found = self._stamps()
        if found not in (self._loaded, self._refused):
            self._renew(found)
        return super().wrap_bio(incoming, outgoing, *more, **named)

    def _begun(self, ca_file: str, cert_file: str, key_file: str) -> Self:
        self._files = (ca_file, cert_file, key_file)
        # Before the files are read: what is written meanwhile is found to be new.
        self._loaded = self._stamps()
        _load(self, *self._files)
        return self

    def _stamps(self) -> tuple[FileStamp, ...]:
        return tuple(file_stamp(Path(name)) for name in self._files if name)

    def _renew(self, found: tuple[FileStamp, ...]) -> None:
        try:
            # Apart first: a failure would leave the new certificate beside the old key.
            _load(SSLContext(self.protocol), *self._files)
            _load(self, *self._files)
        except OSError as error:
            self._refused = found
            log.warning("certificates stay as they were: %s: %s", ", ".join(self._files), error)
            return
        self._loaded = found
        log.info(
            "certificates were read again", extra={"files": [one for one in self._files if one]}
        )


def _load(context: SSLContext, ca_file: str, cert_file: str, key_file: str) -> None:
    if ca_file:
        context.load_verify_locations(ca_file)
    if cert_file:
        context.load_cert_chain(cert_file, key_file or None)
