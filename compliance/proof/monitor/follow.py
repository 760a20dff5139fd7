"""One run of a monitor: checkpoint, witnesses, consistency with what was kept, tiles, entries, age.

Nothing stops at the first thing that is wrong if more can be said: a checkpoint without its quorum is still compared
with the one that was kept, for that is where a split view shows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from compliance.proof import merkle, note, tile_proofs
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.layout import TILE_WIDTH
from compliance.proof.monitor.memory import Kept, Memory
from compliance.proof.monitor.sources import Source, read_checkpoint, read_entries, read_tile
from compliance.proof.monitor.tree import Tree, Walk
from compliance.proof.note import NoteVerifier, OpenedNote, open_note
from compliance.proof.policy import NONE, Policy, parse_policy
from compliance.proof.times import format_posix
from compliance.proof.trust import LOG_VKEY, POLICY, TRUST_JSON, TrustFolder

STALE_AFTER_SECONDS: Final = 3600  # a log renews its cosignatures every few minutes
CLOCKS_DIFFER_SECONDS: Final = 300  # a cosignature further ahead than this says nothing about its age


@dataclass(frozen=True, slots=True)
class MonitorTrust:
    """What the monitor brings: which log, its keys, and the policy of witnesses.

    `current` is the key of `log.vkey`: what is shown now is signed by it, older checkpoints perhaps by another.
    """

    origin: str
    log_keys: tuple[NoteVerifier, ...]
    policy: Policy
    current: NoteVerifier | None = None

    @classmethod
    def load(cls, path: Path) -> "MonitorTrust":
        """A trust folder, a folder with `policy` and perhaps `log.vkey`, or the policy file. Raises NotCheckable."""
        folder = path.parent if path.is_file() else path
        if (folder / TRUST_JSON).exists():
            trust = TrustFolder.load(folder)
            return cls(trust.origin, trust.log_keys, trust.policy, trust.log_key)
        try:
            policy = parse_policy((path if path.is_file() else folder / POLICY).read_bytes())
        except OSError as error:
            raise NotCheckable("trust.missing", error.strerror or "cannot be read", place=str(path)) from None
        origins = {verifier.name for verifier in policy.logs}
        if len(origins) != 1:
            detail = (
                f"the policy names {len(origins)} logs; a monitor follows one, and finds {LOG_VKEY} in trust folders"
            )
            raise NotCheckable("trust.form", detail, place=POLICY)
        return cls(origins.pop(), policy.logs, policy)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or that could not be checked (`exit_status` 2)."""

    code: str
    detail: str
    exit_status: int
    place: str | None = None
    evidence: str | None = None

    def to_object(self) -> dict[str, Any]:
        """For `--json`."""
        value = {"code": self.code, "detail": self.detail, "place": self.place, "evidence": self.evidence}
        return {name: said for name, said in value.items() if said is not None}


@dataclass(slots=True)
class Report:
    """What a run found. `said` is for people, `facts` for scripts."""

    findings: list[Finding] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """1 if anything is wrong, else 2 if anything could not be checked, else 0."""
        statuses = {finding.exit_status for finding in self.findings}
        return 1 if 1 in statuses else 2 if statuses else 0

    def to_object(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "verdict": ("ok", "bad", "unchecked")[self.exit_status],
            "exit": self.exit_status,
            "findings": [finding.to_object() for finding in self.findings],
            **self.facts,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """How to run. `seen` are other people's checkpoints of this log: each must be a beginning of what is shown."""

    max_age_seconds: int | None = None
    is_full: bool = False
    entries: Source | None = None
    seen: Mapping[str, str] = field(default_factory=dict)


class Monitor:
    """One run against `source`. `now` is posix seconds."""

    def __init__(self, source: Source, trust: MonitorTrust, memory: Memory, asked: Asked, *, now: int) -> None:
        self._source = source
        self._trust = trust
        self._memory = memory
        self._asked = asked
        self._now = now
        self._shown = ""
        self.report = Report()

    def run(self) -> Report:
        """Look at everything. Never raises ProofError."""
        try:
            self._run()
        except ProofError as error:
            self._find(error)
        return self.report

    def _run(self) -> None:
        kept = self._memory.kept
        if kept is not None and kept.checkpoint.origin != self._trust.origin:
            detail = f"this folder follows {kept.checkpoint.origin}, your trust is for {self._trust.origin}"
            raise NotCheckable("monitor.state", detail)
        self._shown = read_checkpoint(self._source)
        opened, checkpoint = self._open(self._shown)
        self.report.facts["checkpoint"] = _facts(checkpoint)
        self.report.said.append(f"a checkpoint of {checkpoint.size:,} entries, root {checkpoint.root.hex()}")
        witnesses = {key for key in self._trust.policy.witnesses.values() if key is not None}
        times = {line.verifier: line.time or 0 for line in opened.verified if line.verifier in witnesses}
        if self._trust.current is not None and opened.verified_by(self._trust.current) is None:
            self._find(
                ProofError("note.unknown_key", f"not signed by the key of {LOG_VKEY}, only by another of the log")
            )
        self._check_quorum(opened)
        if kept is not None:
            self.report.facts["kept"] = _facts(kept.checkpoint)
        if kept is not None and not self._is_later(kept, checkpoint):
            return
        tree, entries = self._walk(kept, checkpoint)
        changed_at = kept.changed_at if kept is not None and kept.checkpoint == checkpoint else self._now
        self._memory.save(Kept(self._shown, checkpoint, tree, changed_at, self._now, entries))
        for name, text in self._asked.seen.items():
            self._compare_seen(name, text, checkpoint)
        self._check_age(times, changed_at)

    def _open(self, text: str) -> tuple[OpenedNote, Checkpoint]:
        opened = open_note(text, {*self._trust.log_keys, *self._trust.policy.verifiers})
        if not any(opened.verified_by(key) for key in self._trust.log_keys):
            raise ProofError("note.unknown_key", "no line is of your log key")
        checkpoint = Checkpoint.from_extended_text(opened.text)
        if checkpoint.origin != self._trust.origin:
            raise ProofError("checkpoint.origin", f"a checkpoint of {checkpoint.origin}, not of {self._trust.origin}")
        return opened, checkpoint

    def _check_quorum(self, opened: OpenedNote) -> None:
        try:
            witnesses = self._trust.policy.require_quorum([line.verifier for line in opened.verified])
        except ProofError as error:
            self._find(error)
            return
        self.report.facts["witnesses"] = witnesses
        self.report.said.append(f"cosigned by {', '.join(witnesses)}" if witnesses else "no witness cosigned it")

    def _is_later(self, kept: Kept, shown: Checkpoint) -> bool:
        """Whether the log goes on from here. Finds two roots of one size, and a log that went back."""
        if shown.size > kept.checkpoint.size:
            return True
        if shown.size == kept.checkpoint.size:
            if shown.root == kept.checkpoint.root:
                return True
            self._find(_split(f"two roots of {shown.size} entries, both signed by the log"), kept.note)
            return False
        self._compare_older(shown, kept.checkpoint, kept.note)
        return False

    def _compare_older(self, older: Checkpoint, newer: Checkpoint, newer_note: str) -> None:
        """The log shows `older` now, and has shown `newer` before or to another."""
        said = f"a log of {older.size:,} entries is shown now, one of {newer.size:,} was shown before"
        kept = self._memory.kept
        known = kept.tree.root_at(older.size) if kept is not None and kept.checkpoint == newer else None
        if known is not None:
            is_beginning = known == older.root
            detail = f"{said}: true, but old" if is_beginning else f"{said}, and it is not the beginning of that one"
            error = ProofError("monitor.rollback", detail) if is_beginning else _split(detail)
            self._find(error, newer_note)
            return
        try:
            path = tile_proofs.consistency_path(self._read, older.size, newer.size)
            _require_consistent(older, newer, path)
        except NotCheckable:
            raise
        except ProofError as error:
            if error.code == "proof.consistency" and self._gives(newer):
                self._find(_split(f"{said}, and neither is the beginning of the other"), newer_note)
            else:
                detail = f"{said}; its tiles do not show whether the two belong together"
                self._find(ProofError("monitor.rollback", detail), newer_note)
            return
        self._find(ProofError("monitor.rollback", f"{said}: true, but old"), newer_note)

    def _walk(self, kept: Kept | None, shown: Checkpoint) -> tuple[Tree, int]:
        """Every tile from the kept checkpoint to `shown`, or from the beginning; the tree and the entries hashed."""
        wants_entries = self._asked.entries is not None
        is_full = kept is None or self._asked.is_full or (wants_entries and kept.entries < kept.checkpoint.size)
        tree = Tree() if kept is None or is_full else kept.tree.copy()
        redacted = [0]
        walk = Walk(
            shown.size,
            self._read,
            on_tile=self._hash_entries(redacted) if wants_entries else None,
            probe_at=kept.checkpoint.size if kept is not None and is_full else 0,
        )
        try:
            walk.run(tree)
            if tree.root() != shown.root:
                raise ProofError("tile.root", "the leaf hashes do not give the root of the checkpoint", place="tile/0")
            if walk.probed and kept is not None and walk.probed != kept.checkpoint.root:
                raise ProofError("tile.hash", "the beginning of the log is not the one that was kept")
        except NotCheckable:
            raise
        except ProofError as error:
            raise self._judge(error, kept, shown) from None
        started = 0 if kept is None or is_full else kept.checkpoint.size
        self.report.facts |= {"tiles": walk.tiles, "entries": shown.size - started if wants_entries else 0}
        if kept is not None:
            self.report.said.append(f"it continues the one of {kept.checkpoint.size:,} entries that was kept")
        self.report.said.append(f"{walk.tiles:,} hash tiles agree with the leaves and the root")
        if wants_entries:
            self.report.facts["redacted"] = redacted[0]
            self.report.said.append(f"{shown.size - started:,} entries are the leaves, {redacted[0]} of them redacted")
            return tree, shown.size
        return tree, 0 if kept is None else kept.entries

    def _judge(self, error: ProofError, kept: Kept | None, shown: Checkpoint) -> ProofError:
        """Tiles that do not fit what was kept are damage, unless they give the signed root: then it is a fork."""
        if kept is None or error.code not in ("tile.hash", "tile.root") or not self._gives(shown):
            return error
        if self._continues(kept.checkpoint, shown):
            return error
        split = _split(
            f"the log of {shown.size:,} entries does not continue the one of {kept.checkpoint.size:,}, "
            "both signed by the log"
        )
        split.place = error.place
        return split

    def _gives(self, checkpoint: Checkpoint) -> bool:
        try:
            return tile_proofs.root(self._read, checkpoint.size) == checkpoint.root
        except NotCheckable:
            raise
        except ProofError:
            return False

    def _continues(self, older: Checkpoint, newer: Checkpoint) -> bool:
        path = tile_proofs.consistency_path(self._read, older.size, newer.size)
        try:
            _require_consistent(older, newer, path)
        except ProofError:
            return False
        return True

    def _hash_entries(self, redacted: list[int]) -> Callable[[int, list[bytes]], None]:
        source = self._asked.entries
        if source is None:
            raise AssertionError("nobody asked for entries")

        def check(index: int, hashes: list[bytes]) -> None:
            entries = read_entries(source, index, len(hashes))
            for position, (entry, hash_) in enumerate(zip(entries, hashes, strict=True)):
                if entry and merkle.leaf_hash(entry) != hash_:
                    place = f"leaf {index * TILE_WIDTH + position}"
                    raise ProofError("entry.hash", "the bytes are not the leaf of the tree", place=place)
                redacted[0] += not entry

        return check

    def _compare_seen(self, name: str, text: str, shown: Checkpoint) -> None:
        """A checkpoint that somebody else holds: from a report, a proof, a colleague, a witness."""
        try:
            _, other = self._open(text)
        except ProofError as error:
            self._find(error.within(name))
            return
        if other.size > shown.size:
            self._compare_older(shown, other, text)
        elif other.size == shown.size and other.root != shown.root:
            self._find(_split(f"{name} has another root of {shown.size} entries, signed by the log"), text)
        elif other.size < shown.size and not self._continues(other, shown):
            detail = f"the log of {shown.size:,} entries does not continue that of {other.size:,} in {name}"
            self._find(_split(f"{detail}, both signed by the log"), text)
        else:
            self.report.said.append(f"{name} is a beginning of it")

    def _check_age(self, times: Mapping[NoteVerifier, int], changed_at: int) -> None:
        """By the time at which the quorum stood, else the newest cosignature, else when this monitor saw it change."""
        believable = {key: time for key, time in times.items() if time <= self._now + CLOCKS_DIFFER_SECONDS}
        since = self._trust.policy.witnessed_since(believable)
        if since is None and self._trust.policy.quorum == NONE:
            since = max(believable.values(), default=None)
        what, limit = "cosigned", self._asked.max_age_seconds
        if since is None:
            what, since = "changed, as far as this monitor saw,", changed_at
        elif limit is None:
            limit = STALE_AFTER_SECONDS
        age = max(0, self._now - since)
        self.report.facts |= {"age_seconds": age, "age_by": what.split(",")[0]}
        self.report.said.append(f"last {what} at {format_posix(since)}, {age:,} seconds ago")
        if limit is not None and age > limit:
            detail = f"the checkpoint was last {what} {age:,} seconds ago, the limit is {limit:,}"
            self._find(ProofError("monitor.stale", detail))

    def _read(self, level: int, index: int, width: int) -> bytes:
        return read_tile(self._source, level, index, width)

    def _find(self, error: ProofError, other_note: str | None = None) -> None:
        """Add a finding, with evidence on disk: the checkpoint that is shown and the one it contradicts."""
        kept = self._memory.kept
        other = other_note if other_note is not None else kept.note if kept is not None else None
        evidence = None
        if self._shown and error.exit_status == 1:
            files = {"shown-checkpoint": self._shown.encode()}
            if other is not None:
                files["kept-checkpoint"] = other.encode()
            if error.code in ("monitor.stale", "policy.quorum"):  # the same each run until the log mends it
                files = {"shown-checkpoint": f"{note.split(self._shown)[0]}\n".encode()}
            said = {
                "code": error.code,
                "detail": error.detail,
                "place": error.place,
                "found_at": format_posix(self._now),
            }
            folder = self._memory.keep_evidence(said, files)
            evidence = None if folder is None else str(folder)
        self.report.findings.append(Finding(error.code, error.detail, error.exit_status, error.place, evidence))


def _split(detail: str) -> ProofError:
    return ProofError("monitor.split_view", detail)


def _require_consistent(older: Checkpoint, newer: Checkpoint, path: list[bytes]) -> None:
    merkle.verify_consistency(
        first_size=older.size, second_size=newer.size, first_root=older.root, second_root=newer.root, path=path
    )


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
