"""Is what was promised kept: fetch the inclusion proofs of a receipt's entries and verify them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from compliance.client.errors import NotTrusted
from compliance.client.receipts import KeptReceipt
from compliance.client.session import Session
from compliance.proof.times import parse_time


class Standing(Enum):
    """How far a receipt has come."""

    RECORDED = "recorded"  # promised, no checkpoint yet
    INCLUDED = "included"  # proven under a checkpoint
    BROKEN = "broken"  # the promise was not kept, or a proof does not verify
    NOTHING = "nothing new"  # all its events had been recorded before


@dataclass(frozen=True, slots=True)
class Found:
    """What the look at one receipt gave."""

    standing: Standing
    says: str


def check_receipt(session: Session, kept: KeptReceipt, *, every: bool = False) -> Found:
    """Verify the receipt, then the inclusion of its first and last entry, or of every one."""
    try:
        payload = session.trust.verify_receipt(kept.path.read_bytes()).payload
    except NotTrusted as error:
        return Found(Standing.BROKEN, error.message)
    entries = payload["entries"]
    if not entries:
        return Found(Standing.NOTHING, f"{len(payload['duplicates'])} events recorded before")
    asked = entries if every or len(entries) == 1 else [entries[0], entries[-1]]
    sizes = []
    for entry in asked:
        proof = session.inclusion_proof(payload["batch"], entry["index"])
        if proof is None:
            return _not_yet(payload, entry)
        try:
            sizes.append(session.trust.verify_inclusion(proof, bytes.fromhex(entry["hash"])).size)
        except NotTrusted as error:
            return Found(Standing.BROKEN, f"event {entry['index']}: {error.message}")
    which = "each of them proven" if len(asked) == len(entries) else "first and last proven"
    return Found(Standing.INCLUDED, f"{len(entries)} entries, {which} under the checkpoint of size {max(sizes)}")


def _not_yet(payload: Mapping[str, Any], entry: Mapping[str, Any]) -> Found:
    promised = parse_time(payload["merge_by"])
    if datetime.now(UTC) > promised:
        late = f"event {entry['index']} is under no checkpoint, promised for {payload['merge_by']}"
        return Found(Standing.BROKEN, f"{late}. This receipt is proof against the operator: keep it.")
    return Found(
        Standing.RECORDED, f"{len(payload['entries'])} entries, promised under a checkpoint by {payload['merge_by']}"
    )
