"""Verification of signed calls in a process: its certificates, kept up to date, and its budget."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from stream.config.settings import EngineSettings
from stream.core.stir.verifier import Finding, Verifier
from stream.ops.tasks import running

log = logging.getLogger(__name__)

_NO_BUDGET = 1e9
"""Signatures a second: more than any machine verifies."""


class Signatures:
    """Certificates from files, and the verifier with those of the moment."""

    def __init__(
        self, settings: EngineSettings, tell: Callable[[Finding], None], *, is_live: bool = True
    ) -> None:
        """Count findings by `tell`. Raises ConfigInvalid for files that cannot be used.

        Without `is_live` no call waits, so there is no budget.
        """
        # It loads what reads certificates and verifies, 0.05 s of CPU: for processes that do so.
        from stream.config.signer_files import SignerFolder  # noqa: PLC0415

        section = settings.stir
        self._reload_s = section.reload_s
        self._folder = SignerFolder(Path(section.trusted), Path(section.certificates))
        self._folder.start()
        per_s = section.verifications_per_s if is_live else _NO_BUDGET
        self.verifier = Verifier(lambda: self._folder.signers, section.fresh_s, per_s, tell)

    @classmethod
    def of(
        cls, settings: EngineSettings, tell: Callable[[Finding], None], *, is_live: bool = True
    ) -> Self | None:
        """Return them where a rule goes by them and authorities are named; else None."""
        wanted = settings.stir.trusted and settings.policy.rules.settings().of_attestation
        return cls(settings, tell, is_live=is_live) if wanted else None

    async def watch(self) -> None:
        """Take up changed files, and log which certificates calls named in vain."""
        while True:
            await asyncio.sleep(self._reload_s)
            await asyncio.to_thread(self._folder.look)
            missed = self.verifier.missed()
            if missed:
                log.warning("certificates of calls are not in the folder: %s", ", ".join(missed))


@asynccontextmanager
async def watching(signatures: Signatures | None) -> AsyncIterator[None]:
    """Keep certificates up to date within the block; None: there are none."""
    if signatures is None:
        yield
        return
    async with running(signatures.watch(), "signatures"):
        yield
