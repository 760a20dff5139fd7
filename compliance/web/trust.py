"""The trust data that a page hands to the verifier in the browser: what the trust folder of this log says.

A reader who trusts this server no further than needed brings the same files from elsewhere and chooses them there.
"""

from dataclasses import dataclass

from django.conf import settings

from compliance.proof.trust import LOG_KEYS


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the verification, in the words shown before it runs."""

    name: str
    words: str
    plan: str


VERIFY_STEPS = (
    Step("file", "Read the proof bundle", "Strict and canonical, of the log you trust"),
    Step("checkpoint", "Check the log signature", "Ed25519, by the log key you trust"),
    Step("witnesses", "Check witness cosignatures", "As many as the policy asks for"),
    Step("inclusion", "Check inclusion in the ledger", "Each entry leads to the checkpoint's root"),
    Step("chain", "Recompute event hashes", "SHA-256, no gap, each linked to the one before"),
    Step("signatures", "Check who signed", "Batch signatures, keys valid at that time"),
    Step("heads", "Check that nothing is left out", "The operator's signed last event of each chain"),
)


def trust_files() -> dict[str, str]:
    """Texts of the public files of the trust folder; those that do not exist are missing."""
    folder = settings.METERPROOF["TRUST_DIR"]
    paths = {
        "vkey": folder / "log.vkey",
        "policy": folder / "policy",
        "trust": folder / "trust.json",
        "keyProof": folder / LOG_KEYS,
    }
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items() if path.is_file()}
