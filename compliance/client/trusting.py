"""Whom the sender believes: the log's key and the receipt keys, from a trust folder or pinned at first use.

First use is the weak moment: whoever answers then is believed later. A relying party compares the pins with a trust
folder that came another way (`--trust`); a change after the first use is always an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compliance.client.errors import ClientError, NotTrusted
from compliance.client.home import Home, write_bytes
from compliance.proof import trust
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.keys import PublicKey
from compliance.proof.note import open_note
from compliance.proof.receipt import Receipt
from compliance.proof.receipt import read as read_receipt
from compliance.proof.standing import require_standing_log_key, require_standing_receipt_key
from compliance.proof.steps import Step, Verdict
from compliance.proof.tlog_proof import TlogProof
from compliance.proof.verify_bundle import read_revocations


@dataclass(frozen=True, slots=True)
class Trust:
    """A trust folder, and whether it was pinned from the server's own word."""

    folder: trust.TrustFolder
    pinned_at_first_use: bool

    @classmethod
    def load(cls, path: str | Path) -> "Trust":
        """The folder a relying party brought."""
        return cls(_load(Path(path)), pinned_at_first_use=False)

    @classmethod
    def pinned(cls, home: Home, service: Mapping[str, Any]) -> "Trust":
        """The pins of this log in `home`; made from the `service` document when there are none yet."""
        folder = home.trust(str(service["log"]))
        if not (folder / trust.TRUST_JSON).exists():
            _pin(folder, service)
        pinned = cls(_load(folder), pinned_at_first_use=True)
        pinned.require_same(service)
        return pinned

    @property
    def origin(self) -> str:
        """The log that is believed."""
        return self.folder.origin

    def require_same(self, service: Mapping[str, Any]) -> None:
        """Raise NotTrusted if the server now names another log or another key of it than the ones trusted."""
        if service["log"] != self.origin:
            raise NotTrusted(f"The server is of the log {service['log']}; you trust {self.origin}.")
        known = {verifier.vkey for verifier in self.folder.log_keys}
        if service["log_key"] not in known:
            raise NotTrusted("The server signs its log with a key that you do not trust.", mend="Ask the operator why.")
        ended = {
            verifier.vkey for verifier in self.folder.log_keys if ("log", verifier.id.hex()) in self.folder.revoked
        }
        if service["log_key"] in ended:
            raise NotTrusted(
                "The server signs its log with a key that was revoked (key.revoked).", mend="Ask the operator why."
            )

    def verify_receipt(self, envelope: bytes) -> Receipt:
        """The receipt, verified with the trusted receipt keys. By its own word it is older than their revocation."""
        try:
            receipt = read_receipt(envelope)
            receipt.verify(self.folder.receipt_keys, log=self.origin)
            issued_at = receipt.payload["issued_at"]
            verdict, step = Verdict("receipt"), Step("The receipt's key")
            for keyid in receipt.envelope.keyids:
                require_standing_receipt_key(keyid, issued_at, self.folder, verdict, step)
        except ProofError as error:
            raise NotTrusted(f"The receipt does not verify: {error}") from error
        return receipt

    def verify_inclusion(self, proof: str, leaf_hash: bytes) -> Checkpoint:
        """The checkpoint under which `leaf_hash` lies, by this `.tlog-proof` file, which nothing dates."""
        try:
            parsed = TlogProof.from_text(proof)
            opened = open_note(parsed.checkpoint, self.folder.log_keys)
            checkpoint = Checkpoint.from_text(opened.text)
            if checkpoint.origin != self.origin:
                raise NotTrusted(f"A checkpoint of {checkpoint.origin}, not of {self.origin}.")
            keyids = [line.verifier.id.hex() for line in opened.verified]
            require_standing_log_key(keyids, (), self.folder, Verdict("proof file"))
            parsed.verify(leaf_hash=leaf_hash, checkpoint=checkpoint)
        except ProofError as error:
            raise NotTrusted(f"The inclusion proof does not verify: {error}") from error
        return checkpoint


def _pin(folder: Path, service: Mapping[str, Any]) -> None:
    try:
        keys = {one["keyid"]: PublicKey.from_object(one) for one in service["receipt_keys"]}
        pins = {"platform": frozenset({service["platform_key"]["keyid"]})}
        content = trust.build_trust(origin=service["log"], receipt_keys=keys, pins=pins)
    except (ProofError, KeyError, TypeError) as error:
        raise NotTrusted(f"The server's description of itself cannot be read: {error}") from error
    write_bytes(folder / trust.LOG_VKEY, f"{service['log_key']}\n".encode())
    write_bytes(folder / trust.POLICY, f"log {service['log_key']}\nquorum none\n".encode())
    write_bytes(folder / trust.TRUST_JSON, content)


def _load(path: Path) -> trust.TrustFolder:
    try:
        return read_revocations(trust.TrustFolder.load(path), Step("The trust folder"))
    except ProofError as error:
        raise ClientError(f"The trust folder {path} cannot be used: {error}") from error
