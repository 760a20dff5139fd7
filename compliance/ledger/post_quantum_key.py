"""The log's ML-DSA-44 key: a second signature line on each checkpoint, off by default (METERPROOF_POST_QUANTUM).

The private key is `log-mldsa44.pem` in SECRETS_DIR, 0600. The public one is `log-mldsa44.vkey` in TRUST_DIR, and
stays there when the line is turned off again, so that checkpoints that have it can be checked for ever. By C2SP's
tlog-cosignature the line is a cosignature of the log itself; so in a policy it is a witness, and a quorum can ask for
it.
"""

from typing import Final

from django.conf import settings

from compliance.ledger import files, keys
from compliance.ledger.errors import KeyUnavailable, LedgerError
from compliance.proof.errors import ProofError
from compliance.proof.note import TYPE_MLDSA44, NoteSigner, NoteVerifier
from compliance.proof.post_quantum import PostQuantumPrivateKey
from compliance.proof.trust import POST_QUANTUM_KEY

FILE: Final = "log-mldsa44.pem"
VKEY: Final = POST_QUANTUM_KEY
WITNESS: Final = "log-mldsa44"  # its name in the policy for relying parties
MAKE_IT: Final = "manage.py log post-quantum-key"


def make() -> NoteSigner:
    """The key, made if there is none, and its verifier key in the trust folder. Raises LedgerError."""
    try:
        files.make_secret(settings.METERPROOF["SECRETS_DIR"] / FILE, PostQuantumPrivateKey.generate().to_pem())
    except FileExistsError:
        pass
    except ProofError as error:
        raise LedgerError(f"No post-quantum key can be made: {error.detail}.") from None
    signer = _load()
    files.replace(settings.METERPROOF["TRUST_DIR"] / VKEY, f"{signer.vkey}\n".encode())
    return signer


def signers() -> list[NoteSigner]:
    """Who signs beside the log's Ed25519 keys: nobody unless the setting is on. Raises KeyUnavailable."""
    if not settings.METERPROOF["POST_QUANTUM"]:
        return []
    signer = _load()
    if signer.verifier not in verifiers():
        raise KeyUnavailable(f"The trust folder lacks {VKEY}, so nobody could check the line. Run: {MAKE_IT}")
    return [signer]


def verifiers() -> list[NoteVerifier]:
    """The key of the trust folder, whether it signs now or did before. Raises LedgerError if it is none."""
    try:
        vkey = (settings.METERPROOF["TRUST_DIR"] / VKEY).read_text("utf-8").strip()
    except FileNotFoundError:
        return []
    try:
        verifier = NoteVerifier.from_vkey(vkey)
    except ProofError as error:
        raise LedgerError(f"{VKEY} in the trust folder: {error.detail}. Write it again with: {MAKE_IT}") from None
    if verifier.type != TYPE_MLDSA44 or verifier.name != settings.METERPROOF["ORIGIN"]:
        raise LedgerError(f"{VKEY} in the trust folder is another key. Write it again with: {MAKE_IT}")
    return [verifier]


def policy_lines() -> str:
    """For the policy that relying parties get."""
    return "".join(f"witness {WITNESS} {verifier.vkey}\n" for verifier in verifiers())


def _load() -> NoteSigner:
    try:
        pem = keys.read_secret(FILE)
        return NoteSigner(settings.METERPROOF["ORIGIN"], PostQuantumPrivateKey.from_pem(pem), TYPE_MLDSA44)
    except KeyUnavailable:
        raise KeyUnavailable(
            f"{settings.METERPROOF['SECRETS_DIR'] / FILE} is missing, and METERPROOF_POST_QUANTUM is on. Put it back "
            f"from the backup of the secrets, or make the first one with: {MAKE_IT}"
        ) from None
    except ProofError as error:
        raise LedgerError(f"{FILE} in the folder of secrets: {error.detail}. Put it back from its backup.") from None
