"""Cosignatures for our checkpoints: who is asked, what was answered, and what stops publishing.

The operator names the witnesses in a C2SP tlog-policy file with their addresses. After the signer has stored a note
they are asked, all at once and briefly; while the log is idle they are asked again, so that their times stay fresh.
What each answered last lies beside the signer's memory. A witness that says it knows another history of this log raises
an alarm: nothing more is published until the operator has looked.

To be called by who holds the signer alone (`signer.exclusive`), except for `alarm`, `standing` and the policy.
"""

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from compliance.jobs import clock
from compliance.jobs.failpoints import reach
from compliance.ledger import files, tiles, witness_requests
from compliance.ledger.errors import LedgerError, WitnessAlarm
from compliance.ledger.witness_requests import Asked, Told
from compliance.proof import note, policy, tile_proofs, witness_protocol
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.note import NoteVerifier
from compliance.proof.policy import NONE, Policy
from compliance.proof.times import format_time, parse_time

logger = logging.getLogger(__name__)

STATE: Final = "witnesses.json"
ALARM: Final = "witness-alarm.json"
EVIDENCE: Final = "witness-alarms"
LONGEST_PAUSE_SECONDS: Final = 30  # a witness that failed is asked again after 2, 4, 8 ... seconds: it costs a time-out


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one witness. `size` is what it cosigned last as far as we know, `line` over the text `text`."""

    vkey: str
    name: str = ""
    size: int = 0
    text: str = ""
    line: str = ""
    time: int = 0
    failures: int = 0
    tried_at: str = ""
    outcome: str = "not asked yet"

    def may_be_asked(self, now: datetime) -> bool:
        """Whether its pause after failures is over."""
        if not self.failures:
            return True
        waited = (now - parse_time(self.tried_at)).total_seconds()
        return not 0 <= waited < min(2**self.failures, LONGEST_PAUSE_SECONDS)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why publishing stopped. `evidence` is the folder with what was sent and answered."""

    witness: str
    why: str
    at: str
    size: int
    evidence: str


@dataclass(frozen=True, slots=True)
class Collected:
    """The note with every cosignature there is of it, and whether that is enough to show it."""

    note: str
    may_be_shown: bool


@dataclass(slots=True)
class _Memory:
    by_vkey: dict[str, Standing] = field(default_factory=dict)


def operator_policy() -> Policy:
    """The operator's policy; one without witnesses if there is no file. Raises LedgerError when it is not one."""
    data = _policy_file()
    if data is None:
        return Policy((), {}, {}, NONE)
    try:
        read = policy.parse_policy(data)
    except ProofError as error:
        raise LedgerError(f"{settings.METERPROOF['WITNESS_POLICY']} is no policy of witnesses: {error}") from None
    for name, url in read.urls.items():
        if not witness_requests.is_address(url):
            raise LedgerError(f"The address of witness {name} is not http:// or https:// and a host: {url[:200]}")
    return read


def policy_for_others() -> str:
    """The lines about witnesses for the policy that relying parties get: without addresses, and asking for the quorum
    only if nothing is ever published without it.
    """
    data = _policy_file()
    if data is None:
        return f"quorum {NONE}\n"
    operator_policy()
    lines = []
    for words in (line.split() for line in data.decode("utf-8", "surrogateescape").split("\n")):
        match words:
            case ["witness", name, vkey, *_]:
                lines.append(f"witness {name} {vkey}")
            case ["group", *_]:
                lines.append(" ".join(words))
            case ["quorum", name]:
                lines.append(f"quorum {name if settings.METERPROOF['WITNESS_FAIL_CLOSED'] else NONE}")
    return "".join(f"{line}\n" for line in lines)


def known_verifiers() -> list[NoteVerifier]:
    """Every witness of the policy, and those asked before: their lines stand on earlier checkpoints."""
    found = {verifier.vkey: verifier for verifier in operator_policy().witnesses.values() if verifier is not None}
    for vkey in _remembered().by_vkey:
        found.setdefault(vkey, NoteVerifier.from_vkey(vkey))
    return list(found.values())


def standing() -> list[tuple[str, str, Standing]]:
    """(name, address, what is known) of each witness in the policy."""
    asked, memory = operator_policy(), _remembered()
    return [
        (name, asked.urls.get(name, ""), memory.by_vkey.get(verifier.vkey, Standing(verifier.vkey, name)))
        for name, verifier in asked.witnesses.items()
        if verifier is not None
    ]


def alarm() -> Alarm | None:
    """What stopped publishing, None if nothing did."""
    try:
        return Alarm(**json.loads((_folder() / ALARM).read_bytes()))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError):
        return Alarm("?", f"{_folder() / ALARM} cannot be read", "", 0, "")


def require_no_alarm() -> None:
    """Raise WitnessAlarm if publishing was stopped."""
    raised = alarm()
    if raised is not None:
        raise WitnessAlarm(raised.witness, raised.why, raised.evidence)


def go_on(reason: str) -> Alarm:
    """The operator has looked and takes responsibility: publish again. `reason` is kept with the evidence.

    Raises LedgerError if there is no alarm. A witness that is asked again and refuses again raises it again.
    """
    raised = alarm()
    if raised is None:
        raise LedgerError("No witness has stopped publishing.")
    accepted = {**asdict(raised), "accepted_at": format_time(clock.now()), "reason": reason}
    folder = Path(raised.evidence) if raised.evidence else _folder() / EVIDENCE
    data = (json.dumps(accepted, indent=1) + "\n").encode()
    files.replace(folder / f"accepted-{secrets.token_hex(4)}.json", data, mode=0o600)
    (_folder() / ALARM).unlink()
    files.sync_folder(_folder())
    logger.warning("publishing goes on after the alarm of witness %s: %s", raised.witness, reason)
    return raised


def went_on() -> list[tuple[Alarm, str]]:
    """Each alarm after which the operator went on, with his reason, as far as the evidence was not moved away."""
    found = []
    names = {item.name for item in fields(Alarm)}
    for path in sorted((_folder() / EVIDENCE).rglob("accepted-*.json")):
        try:
            said = json.loads(path.read_bytes())
            found.append((Alarm(**{name: said[name] for name in names}), str(said["reason"])))
        except (KeyError, TypeError, ValueError, OSError):
            logger.warning("%s cannot be read", path)
    return found


def collected(signed: str) -> Collected:
    """`signed` with the cosignatures that are here already; nobody is asked."""
    asked = operator_policy()
    return _put_together(signed, note.split(signed)[0], asked, _remembered())


def collect(signed: str, checkpoint: Checkpoint, *, hurry: bool = False) -> Collected:
    """Ask those witnesses that have not cosigned `signed` yet, or not for a while, and put together what there is.

    In a `hurry` those that failed are not given their pause. Raises WitnessAlarm, once it is on the disk. Never waits
    longer than a few time-outs for all of them together.
    """
    require_no_alarm()
    asked, memory, now = operator_policy(), _remembered(), clock.now()
    text = note.split(signed)[0]
    due = _due(asked, memory, text, now, hurry=hurry)
    if due:
        told = witness_requests.ask_all(
            due,
            signed=signed,
            checkpoint=checkpoint,
            prove=lambda old: tile_proofs.consistency_path(tiles.read_tile, old, checkpoint.size),
            seconds=settings.METERPROOF["WITNESS_TIMEOUT_SECONDS"],
            now=now,
        )
        reach("ledger.witnesses.answered")
        for answer in told:
            known = memory.by_vkey.get(answer.vkey, Standing(answer.vkey))
            memory.by_vkey[answer.vkey] = _learned(known, answer, text, now)
        _remember(memory)
        reach("ledger.witnesses.remembered")
        contradictions = [answer for answer in told if answer.alarm]
        if contradictions:
            _raise_alarm(contradictions[0], signed, checkpoint, now)
    return _put_together(signed, text, asked, memory)


def _due(asked: Policy, memory: _Memory, text: str, now: datetime, *, hurry: bool) -> list[Asked]:
    due = []
    for name, verifier in asked.witnesses.items():
        if verifier is None or name not in asked.urls:
            continue
        known = memory.by_vkey.get(verifier.vkey, Standing(verifier.vkey))
        age = now.timestamp() - known.time
        is_fresh = known.text == text and 0 <= age < settings.METERPROOF["WITNESS_RENEW_SECONDS"]
        if not is_fresh and (hurry or known.may_be_asked(now)):
            due.append(Asked(name, asked.urls[name], verifier, known.size))
    return due


def _learned(known: Standing, answer: Told, text: str, now: datetime) -> Standing:
    tried = replace(known, name=answer.name, tried_at=format_time(now), outcome=answer.outcome, size=answer.size)
    if answer.cosignature is None:
        return replace(tried, failures=known.failures + 1)
    return replace(tried, failures=0, text=text, line=answer.cosignature.line, time=answer.cosignature.time)


def _put_together(signed: str, text: str, asked: Policy, memory: _Memory) -> Collected:
    lines: list[str] = []
    cosigners: list[NoteVerifier] = []
    for verifier in asked.witnesses.values():
        known = memory.by_vkey.get(verifier.vkey) if verifier is not None else None
        if verifier is not None and known is not None and known.text == text:
            lines.append(known.line)
            cosigners.append(verifier)
    try:
        asked.require_quorum(cosigners)
    except ProofError:
        may_be_shown = not settings.METERPROOF["WITNESS_FAIL_CLOSED"]
    else:
        may_be_shown = True
    return Collected(witness_protocol.add_lines(signed, lines), may_be_shown)


def _raise_alarm(answer: Told, signed: str, checkpoint: Checkpoint, now: datetime) -> None:
    folder = _folder() / EVIDENCE / f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    kept: Mapping[str, bytes] = {
        "our-checkpoint": signed.encode(),
        "request": answer.request,
        "answer": f"{answer.status}\n".encode() + answer.body,
        "their-checkpoint": answer.their_checkpoint,
    }
    for name, data in kept.items():
        if data:
            files.replace(folder / name, data, mode=0o600)
    raised = Alarm(answer.name, answer.outcome, format_time(now), checkpoint.size, str(folder))
    files.replace(_folder() / ALARM, (json.dumps(asdict(raised), indent=1) + "\n").encode(), mode=0o600)
    logger.critical("publishing stopped: witness %s %s. Evidence: %s", raised.witness, raised.why, folder)
    raise WitnessAlarm(raised.witness, raised.why, raised.evidence)


def _remembered() -> _Memory:
    """A lost or broken memory costs a round of questions, nothing else: each witness knows its own size."""
    try:
        stored: Sequence[Mapping[str, Any]] = json.loads((_folder() / STATE).read_bytes())
        return _Memory({item["vkey"]: Standing(**item) for item in stored})
    except FileNotFoundError:
        return _Memory()
    except (KeyError, TypeError, ValueError):
        logger.exception("%s cannot be read; the witnesses are asked anew", _folder() / STATE)
        return _Memory()


def _remember(memory: _Memory) -> None:
    items = [asdict(known) for known in memory.by_vkey.values()]
    files.replace(_folder() / STATE, (json.dumps(items, indent=1) + "\n").encode(), mode=0o600)


def _policy_file() -> bytes | None:
    path: Path = settings.METERPROOF["WITNESS_POLICY"]
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}.") from None


def _folder() -> Path:
    path: Path = settings.METERPROOF["SIGNER_DIR"]
    return path
