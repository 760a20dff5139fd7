"""What a proof bundle proves: steps 3 to 10 of the verifier.

A bundle shows some chains whole and single entries beside them; the operator's signed heads say where the chains end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from compliance.proof import bundle, merkle
from compliance.proof.bundle import Bundle, BundleEntry
from compliance.proof.chains import group_chains
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.facts import REDACTED, Fact, Gone, Leaf, read_fact
from compliance.proof.history import History, check_history, open_checkpoint
from compliance.proof.log_keys import LogKeys
from compliance.proof.policy import Policy
from compliance.proof.standing import require_standing_receipt_key
from compliance.proof.steps import Step, Verdict
from compliance.proof.subject import log, organisation, signing_key
from compliance.proof.trust import LOG_KEYS, LOG_VKEY, TrustFolder


def verify_bundle(
    data: bytes, trust: TrustFolder, verdict: Verdict, step: Step, *, dated: Sequence[str] = ()
) -> History:
    """Check the bundle `data`; `step` is the step about the file, `dated` times at which it is known to have existed.

    Raises ProofError at the first failure.
    """
    file = bundle.read(data)
    step.say(f"about {_list(file.subjects)}")
    step.say(f"{len(file.entries)} entries, {len(file.batches)} batches; made {file.created} (not authenticated)")
    checkpoint = open_checkpoint(file.checkpoint, trust, verdict, time_tokens=file.time_tokens, dated=dated)
    if file.log != checkpoint.origin:
        raise ProofError("bundle.log", f"a bundle of {file.log} with a checkpoint of {checkpoint.origin}")
    facts, bare = _read_leaves(file, checkpoint, verdict)
    whole = {*file.subjects, *file.heads.heads}
    history = check_history(
        facts,
        bare,
        trust=trust,
        verdict=verdict,
        envelopes=file.batches.get,
        require_place=_places(file),
        unknown_key="bundle.incomplete",
        is_whole=whole.__contains__,
        missing=[subject for subject in file.subjects if subject not in {fact.subject for fact in facts}],
    )
    unused = file.batches.keys() - history.authors.payloads.keys()
    if unused:
        raise ProofError("bundle.unused", "no entry names it", place=f"batch {min(unused)}")
    _check_heads(file, checkpoint, history, trust, verdict)
    return history


def read_revocations(trust: TrustFolder, step: Step) -> TrustFolder:
    """`trust` with what its own `log-keys.proof` shows: which keys of the log were revoked, and from when on.

    The proof must be under a checkpoint that the key in `log.vkey` signed, and that did not revoke it. Raises
    NotCheckable `trust.form` if it does not verify.
    """
    if not trust.key_proof:
        return trust
    newest = Policy((trust.log_key,), {}, {}, "none")
    inner = Verdict("bundle")
    try:
        history = verify_bundle(trust.key_proof, replace(trust, policy=newest), inner, Step("Keys of the log"))
        subject = log(trust.origin)
        if subject not in inner.facts["heads"]:
            raise ProofError("bundle.incomplete", "it does not show the log's own chain")
        facts = [leaf for leaf in history.leaves if isinstance(leaf, Fact)]
        known = LogKeys.of_facts(sorted(facts, key=lambda fact: fact.leaf), subject)
    except ProofError as error:
        raise NotCheckable("trust.form", str(error), place=LOG_KEYS) from None
    if ("log", trust.log_key.id.hex()) in known.revoked:
        raise NotCheckable("trust.form", f"the key of {LOG_VKEY} was revoked: get a newer trust folder", place=LOG_KEYS)
    for (use, keyid), end in known.revoked.items():
        step.say(f"revoked: {use} key {keyid} from {end.effective_at} on ({end.reason})")
    return replace(trust, revoked=known.revoked)


def _read_leaves(file: Bundle, checkpoint: Checkpoint, verdict: Verdict) -> tuple[list[Fact], dict[int, bytes]]:
    facts: list[Fact] = []
    bare: dict[int, bytes] = {}
    with verdict.step("Entries and their inclusion in the log") as step:
        for item in file.entries:
            if item.entry is None:
                bare[item.leaf] = item.redacted_hash
            else:
                facts.append(read_fact(item.leaf, item.entry))
            _require_inclusion(item, checkpoint)
        step.say(f"{len(file.entries)} leaves are in the tree of {checkpoint.size:,} entries")
    return facts, bare


def _require_inclusion(item: BundleEntry, checkpoint: Checkpoint) -> None:
    try:
        merkle.verify_inclusion(
            leaf_hash=item.hash, index=item.leaf, size=checkpoint.size, path=item.path, root=checkpoint.root
        )
    except ProofError as error:
        raise error.within(f"leaf {item.leaf}") from None


def _places(file: Bundle) -> Any:
    paths = {item.leaf: item.event_path for item in file.entries}

    def require_place(fact: Fact, payload: Mapping[str, Any]) -> None:
        try:
            merkle.verify_inclusion(
                leaf_hash=fact.event_hash,
                index=fact.index,
                size=payload["count"],
                path=paths[fact.leaf],
                root=bytes.fromhex(payload["root"]),
            )
        except ProofError as error:
            raise ProofError("batch.path", f"the event's path: {error.detail}", place=fact.place) from None

    return require_place


def _check_heads(file: Bundle, checkpoint: Checkpoint, history: History, trust: TrustFolder, verdict: Verdict) -> None:
    with verdict.step("Completeness, by the operator's signed heads") as step:
        file.heads.verify(trust.receipt_keys, checkpoint=checkpoint)
        issued_at = file.heads.payload["issued_at"]
        require_standing_receipt_key(file.heads.envelope.keyids[0], issued_at, trust, verdict, step)
        required = _required_chains(file, history)
        stated = file.heads.heads
        if stated.keys() != required:
            odd = min(stated.keys() ^ required)
            raise ProofError("heads.subjects", "a head is missing or of a chain nobody asked for", place=odd)
        chains = group_chains(history.leaves)
        for subject, head in sorted(stated.items()):
            leaves = chains.get(subject)
            if not leaves or leaves[-1].seq < head.seq:
                shown = leaves[-1].seq if leaves else "nothing"
                raise ProofError("bundle.incomplete", f"shown up to {shown}, the head is seq {head.seq}", place=subject)
            if leaves[-1].seq > head.seq or leaves[-1].hash != head.hash:
                raise ProofError("heads.subjects", "the head is another entry than the last one shown", place=subject)
        _require_nothing_unused(history, chains, required)
        for subject in file.subjects:
            step.say(
                f"{subject} is complete up to seq {stated[subject].seq} under the checkpoint of size "
                f"{checkpoint.size:,}; that this is its last entry is the operator's signed word"
            )
        verdict.facts["heads"] = {subject: stated[subject].seq for subject in file.subjects}


def _required_chains(file: Bundle, history: History) -> set[str]:
    """The chains that must be shown whole: the subjects, and every organisation and key that signed or vouched."""
    required = set(file.subjects)
    for payload in history.authors.payloads.values():
        required.add(organisation(payload["issuer"]))
        if "on_behalf_of" in payload:
            required.add(organisation(payload["on_behalf_of"]))
    for keyid in {keyid for keyids in history.authors.signers.values() for keyid in keyids}:
        required.add(signing_key(keyid))
        required.add(organisation(history.register.registrations[keyid].organisation))
    return required


def _require_nothing_unused(history: History, chains: Mapping[str, list[Leaf]], required: set[str]) -> None:
    single = {0} | history.causes
    redacted = {leaf.leaf for leaf in history.leaves if isinstance(leaf, Gone)}
    for leaf in history.leaves:
        if isinstance(leaf, Fact) and leaf.type == REDACTED and leaf.data and leaf.data["leaf"] in redacted:
            single.add(leaf.leaf)
    for subject, leaves in chains.items():
        if subject not in required:
            for leaf in leaves:
                if leaf.leaf not in single:
                    raise ProofError("bundle.unused", "no chain asked for and no cause of one", place=leaf.place)


def _list(subjects: tuple[str, ...]) -> str:
    shown = ", ".join(subjects[:5])
    return shown if len(subjects) <= 5 else f"{shown} and {len(subjects) - 5} more"
