"""A side of a replay decides with all that a worker decides with."""

from pathlib import Path

from stream.config.settings import load
from stream.core.filters.blocklists import EMPTY_BLOCKLISTS
from stream.core.model.agreement import Agreements
from stream.core.stir.attestation import Attested
from stream.core.stir.verifier import SignedCall
from stream.insight.replay.candidates import ReplayWorld
from stream.ops.clock import now_s
from tests.support.signed_calls import CALLER, Authority


def test_a_replay_verifies_signatures_as_a_worker_does(tmp_path: Path) -> None:
    """Else every signed call would be a missing one; without a budget, since no call waits."""
    at_s = now_s()
    root = Authority(at_s)
    signer = root.signer()
    (tmp_path / "authorities.pem").write_bytes(root.pem)
    signer.put_into(tmp_path / "certificates")
    text = f"""
stir.trusted = "{tmp_path}/authorities.pem"
stir.certificates = "{tmp_path}/certificates"
stir.verifications_per_s = 1.0
"""
    config = tmp_path / "mine.toml"

    def verify(more: str) -> object:
        config.write_text(text + more)
        world = ReplayWorld(load([config], {}), EMPTY_BLOCKLISTS, Agreements())
        return world.side(at_s).rules.verify

    assert verify("") is None
    found = verify('policy.rules.attestation_missing = "observe"')
    assert callable(found)
    call = SignedCall({CALLER}, (), at_s)
    passports = [signer.passport(at_s, origid=f"o-{place}") for place in range(20)]
    assert {found(one, call, at_s) for one in passports} == {Attested.A}
