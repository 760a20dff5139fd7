"""The trust folder: what a relying party brings, never taken from a bundle.

`log.vkey` (one line), `policy` (C2SP tlog-policy), `trust.json` (receipt keys and pinned organisation keys), and,
needed only for reports and time tokens, `report-root.crt` and `tsa-root.crt` (PEM, one or more certificates each). An
authority issues to others, too: `report-seal.crt` names the certificates that may seal this platform's reports.
`log-keys.proof`, once a key of the log was revoked, is the proof bundle of the log's own chain: it shows which keys
counted until when.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from compliance.proof.canonical import encode
from compliance.proof.checkpoint import is_origin
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.keys import PublicKey, is_keyid
from compliance.proof.log_keys import Revocation, Use
from compliance.proof.note import TYPE_ED25519, NoteVerifier
from compliance.proof.policy import Policy, parse_policy
from compliance.proof.strict_json import parse
from compliance.proof.subject import is_organisation_id

FORMAT: Final = "meterproof-trust/1"
LOG_VKEY: Final = "log.vkey"
POLICY: Final = "policy"
TRUST_JSON: Final = "trust.json"
REPORT_ROOTS: Final = "report-root.crt"
TIME_STAMP_ROOTS: Final = "tsa-root.crt"
REPORT_SEALS: Final = "report-seal.crt"
LOG_KEYS: Final = "log-keys.proof"
POST_QUANTUM_KEY: Final = "log-mldsa44.vkey"  # of use to who keeps the log; verifiers read it in the policy
MAX_FILE_BYTES: Final = 4 * 1024 * 1024  # pins of some 40,000 organisations


@dataclass(frozen=True, slots=True)
class TrustFolder:
    """A trust folder that was read. Roots and seals are empty if their files are not there."""

    origin: str
    log_key: NoteVerifier
    policy: Policy
    receipt_keys: Mapping[str, PublicKey]
    pins: Mapping[str, frozenset[str]]
    report_roots: tuple[x509.Certificate, ...] = ()
    time_stamp_roots: tuple[x509.Certificate, ...] = ()
    report_seals: tuple[x509.Certificate, ...] = ()
    key_proof: bytes = field(default=b"", repr=False)
    revoked: Mapping[tuple[Use, str], Revocation] = field(default_factory=dict)  # what `key_proof` shows

    @classmethod
    def load(cls, path: str | Path) -> "TrustFolder":
        """The folder at `path`, or the one that holds the `policy` at `path`.

        Raises NotCheckable: `trust.missing`, `trust.form`.
        """
        folder = Path(path)
        if folder.name == POLICY and not folder.is_dir():
            folder = folder.parent
        if not folder.is_dir():
            raise NotCheckable("trust.missing", "there is no such folder", place=str(path))
        vkey = _read(folder, LOG_VKEY)
        policy = parse_policy(_read(folder, POLICY))
        trust = _read(folder, TRUST_JSON)
        return cls.read(
            log_vkey=vkey,
            policy=policy,
            trust=trust,
            report_roots=_certificates(folder, REPORT_ROOTS),
            time_stamp_roots=_certificates(folder, TIME_STAMP_ROOTS),
            report_seals=_certificates(folder, REPORT_SEALS),
            key_proof=_read(folder, LOG_KEYS) if (folder / LOG_KEYS).exists() else b"",
        )

    @classmethod
    def read(
        cls,
        *,
        log_vkey: bytes,
        policy: Policy,
        trust: bytes,
        report_roots: tuple[x509.Certificate, ...] = (),
        time_stamp_roots: tuple[x509.Certificate, ...] = (),
        report_seals: tuple[x509.Certificate, ...] = (),
        key_proof: bytes = b"",
    ) -> "TrustFolder":
        """The folder from the bytes of its files. Raises NotCheckable `trust.form`."""
        try:
            log_key = NoteVerifier.from_vkey(log_vkey.decode("utf-8").strip())
            if log_key.type != TYPE_ED25519:
                raise ProofError("trust.form", "not the key of a log")
        except (ProofError, UnicodeDecodeError) as error:
            raise NotCheckable("trust.form", f"no verifier key of a log: {error}", place=LOG_VKEY) from None
        if log_key not in policy.logs:
            raise NotCheckable("trust.form", f"no line for the log key of {LOG_VKEY}", place=POLICY)
        try:
            value = parse(trust, max_bytes=MAX_FILE_BYTES)
            origin, receipt_keys, pins = _read_trust(value)
        except ProofError as error:
            raise NotCheckable("trust.form", str(error), place=TRUST_JSON) from None
        if origin != log_key.name:
            raise NotCheckable("trust.form", f"for the log {origin}, the key is of {log_key.name}", place=TRUST_JSON)
        return cls(origin, log_key, policy, receipt_keys, pins, report_roots, time_stamp_roots, report_seals, key_proof)

    @property
    def log_keys(self) -> tuple[NoteVerifier, ...]:
        """Keys whose line makes a checkpoint this log's: that of `log.vkey` and the policy's others of this origin."""
        return tuple(verifier for verifier in self.policy.logs if verifier.name == self.origin)


def build_trust(*, origin: str, receipt_keys: Mapping[str, PublicKey], pins: Mapping[str, frozenset[str]]) -> bytes:
    """The bytes of `trust.json`."""
    return encode(
        {
            "format": FORMAT,
            "log": origin,
            "receipt_keys": [receipt_keys[keyid].to_object() for keyid in sorted(receipt_keys)],
            "organisations": [{"organisation": name, "keys": sorted(pins[name])} for name in sorted(pins)],
        }
    )


def _read_trust(value: Any) -> tuple[str, dict[str, PublicKey], dict[str, frozenset[str]]]:
    if type(value) is not dict or value.keys() != {"format", "log", "receipt_keys", "organisations"}:
        raise ProofError("trust.form", "trust.json has format, log, receipt_keys and organisations")
    if value["format"] != FORMAT:
        raise ProofError("trust.form", f"the format is not {FORMAT}")
    if not is_origin(value["log"]):
        raise ProofError("trust.form", "log is the origin of a log")
    if type(value["receipt_keys"]) is not list or not value["receipt_keys"]:
        raise ProofError("trust.form", "receipt_keys is a list, not empty")
    keys = [PublicKey.from_object(item) for item in value["receipt_keys"]]
    pins: dict[str, frozenset[str]] = {}
    if type(value["organisations"]) is not list:
        raise ProofError("trust.form", "organisations is a list")
    for item in value["organisations"]:
        if type(item) is not dict or item.keys() != {"organisation", "keys"}:
            raise ProofError("trust.form", "an organisation has organisation and keys")
        name, pinned = item["organisation"], item["keys"]
        if not is_organisation_id(name) or name in pins:
            raise ProofError("trust.form", "an organisation id, none twice")
        if type(pinned) is not list or not pinned or not all(is_keyid(keyid) for keyid in pinned):
            raise ProofError("trust.form", f"keys of {name} is a list of key ids, not empty")
        pins[name] = frozenset(pinned)
    return value["log"], {key.keyid: key for key in keys}, pins


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise NotCheckable("trust.form", f"over {MAX_FILE_BYTES} bytes", place=name)
        return path.read_bytes()
    except OSError as error:
        raise NotCheckable("trust.missing", error.strerror or "cannot be read", place=name) from None


def _certificates(folder: Path, name: str) -> tuple[x509.Certificate, ...]:
    if not (folder / name).exists():
        return ()
    try:
        return tuple(x509.load_pem_x509_certificates(_read(folder, name)))
    except ValueError:
        raise NotCheckable("trust.form", "no certificate in PEM", place=name) from None
