"""Steps 3 and 5 to 9 of the verifier, common to bundles and log folders: checkpoint, chains, authors, links."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from compliance.proof import dsse, time_tokens
from compliance.proof.authors import Authors, RequirePlace, check_batches
from compliance.proof.batch import author_of
from compliance.proof.chains import check_chains, group_chains, require_first_leaf
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.facts import Fact, Leaf, explain_redactions
from compliance.proof.key_lines import PINNED, VOUCHED_LOG, VOUCHED_PLATFORM, KeyLines, KeyRegister
from compliance.proof.links import check_links
from compliance.proof.note import TYPE_MLDSA44, open_note
from compliance.proof.standing import require_standing_log_key
from compliance.proof.steps import Step, Verdict
from compliance.proof.times import format_time
from compliance.proof.trust import TIME_STAMP_ROOTS, TrustFolder


@dataclass(slots=True)
class History:
    """What was found on the way: all leaves, authors, keys, and the leaves that are causes of links."""

    leaves: list[Leaf]
    register: KeyRegister
    authors: Authors
    causes: set[int] = field(default_factory=set)


def open_checkpoint(
    text: str, trust: TrustFolder, verdict: Verdict, *, time_tokens: Sequence[bytes] = (), dated: Sequence[str] = ()
) -> Checkpoint:
    """Step 3: the signed note, its log key, origin, witnesses, the time tokens over its bytes, and revoked keys.

    `dated` are times, of six digits, at which the note is known to have existed. Raises `note.*`, `checkpoint.*`,
    `policy.quorum`, `time.token`, `key.revoked`.
    """
    with verdict.step("The log's checkpoint") as step:
        opened = open_note(text, {*trust.policy.verifiers, *trust.log_keys})
        signed_by = [key for key in trust.log_keys if opened.verified_by(key) is not None]
        if not signed_by:
            raise ProofError("note.unknown_key", "no line is of your log key")
        checkpoint = Checkpoint.from_text(opened.text)
        if checkpoint.origin != trust.origin:
            raise ProofError("checkpoint.origin", f"a checkpoint of {checkpoint.origin}, not of {trust.origin}")
        witnesses = trust.policy.require_quorum([line.verifier for line in opened.verified])
        step.say(f"{checkpoint.origin}, {checkpoint.size:,} entries, root {checkpoint.root.hex()}")
        step.say(f"signed by the log's key {signed_by[0].id.hex()}")
        for line in opened.verified:
            if line.verifier.type == TYPE_MLDSA44:
                step.say(f"a line of {line.verifier.name} with ML-DSA-44 verifies, which no quantum computer forges")
        _say_witnesses(witnesses, opened.unknown, trust, step)
        verdict.facts["checkpoint"] = {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
            "witnesses": witnesses,
            "signed_by": [key.id.hex() for key in signed_by],
        }
    stamped = check_time_tokens(text, time_tokens, trust, verdict) if time_tokens else []
    require_standing_log_key([key.id.hex() for key in signed_by], [*stamped, *dated], trust, verdict)
    return checkpoint


def check_history(
    facts: list[Fact],
    bare: Mapping[int, bytes],
    *,
    trust: TrustFolder,
    verdict: Verdict,
    envelopes: Callable[[str], dsse.Envelope | None] | None,
    require_place: RequirePlace,
    unknown_key: str,
    is_whole: Callable[[str], bool],
    missing: Sequence[str] = (),
) -> History:
    """Steps 5 to 9. `envelopes` is None if there are no batches; then authors are not checked, and that is said."""
    leaves: list[Leaf] = list(facts)
    if bare or any(fact.type == "entry.redacted" for fact in facts):
        with verdict.step("Redactions") as step:
            gone = explain_redactions(facts, bare)
            leaves += gone
            verdict.redacted = [leaf.leaf for leaf in gone]
            for leaf in gone:
                step.say(f"{leaf.place}: its bytes are gone, an entry of the log says why; its hash is in the tree")
            step.say(f"{len(gone)} redacted entries, each explained")
    chains = group_chains(leaves)
    with verdict.step("Chains") as step:
        require_first_leaf(leaves, trust.origin)
        if missing:
            raise ProofError("bundle.incomplete", "no entry of this subject is shown", place=missing[0])
        check_chains(chains, is_whole=is_whole, note=lambda line: verdict.note(line, step))
        whole = sum(1 for subject in chains if is_whole(subject))
        step.say(f"{whole} chains without gap from seq 0, each entry naming the hash of the one before")
        if len(chains) > whole:
            step.say(f"{len(chains) - whole} more subjects with single entries")
    register = KeyRegister(facts)
    if envelopes is None:
        with verdict.step("Authors") as step:
            step.status = "unchecked"
            verdict.note("authors not checked: the batches are not there", step)
        return History(leaves, register, Authors())
    authors = _check_authors(facts, envelopes, register, trust, verdict, require_place, unknown_key)
    with verdict.step("Linked entries and their causes") as step:
        subjects_links = [fact for fact in facts if is_whole(fact.subject)]
        count, causes = check_links(subjects_links, chains=chains, note=lambda line: verdict.note(line, step))
        step.say(f"{count} linked entries, each with its cause shown" if count else "none")
    return History(leaves, register, authors, causes)


def _check_authors(
    facts: list[Fact],
    envelopes: Callable[[str], dsse.Envelope | None],
    register: KeyRegister,
    trust: TrustFolder,
    verdict: Verdict,
    require_place: RequirePlace,
    unknown_key: str,
) -> Authors:
    with verdict.step("Batches and their signatures") as step:
        authors = check_batches(
            facts,
            envelopes=envelopes,
            register=register,
            origin=trust.origin,
            require_place=require_place,
            unknown_key=unknown_key,
            note=lambda line: verdict.note(line, step),
        )
        step.say(f"{authors.signatures} signatures on {len(authors.payloads)} batches verify")
        step.say("each key was registered and valid when its entries were recorded")
    with verdict.step("Signing keys and where they come from") as step:
        lines = KeyLines(register, authors.signers)
        lines.require_good()
        _say_standings(lines, authors, register, trust, verdict, step)
    return authors


def _say_standings(
    lines: KeyLines, authors: Authors, register: KeyRegister, trust: TrustFolder, verdict: Verdict, step: Step
) -> None:
    standings: dict[str, str] = {}
    for keyids in authors.signers.values():
        for keyid in keyids:
            if keyid not in standings:
                standings[keyid] = lines.standing(keyid, trust.pins)
    by_author: Counter[tuple[str, str]] = Counter()
    for batch_id, payload in authors.payloads.items():
        author = author_of(payload)
        entries = len(authors.facts[batch_id])
        if "on_behalf_of" in payload:
            by_author[author, VOUCHED_PLATFORM] += entries
            continue
        own = {
            standings[keyid]
            for keyid in authors.signers[batch_id]
            if register.registrations[keyid].organisation == author
        }
        by_author[author, PINNED if PINNED in own else VOUCHED_LOG] += entries
    for (author, standing), count in sorted(by_author.items()):
        step.say(f"{author}: {count} entries, {standing}")
    verdict.facts["authors"] = [
        {"organisation": author, "standing": standing, "entries": count}
        for (author, standing), count in sorted(by_author.items())
    ]


def _say_witnesses(witnesses: list[str], unknown: int, trust: TrustFolder, step: Step) -> None:
    if trust.policy.quorum != "none":
        step.say(f"the witnesses you ask for cosigned it: {', '.join(witnesses)}")
    elif witnesses:
        step.say(f"cosigned by {', '.join(witnesses)}, though you ask for none")
    else:
        step.say("no witness cosigned it: that nobody was shown another history rests on who keeps old checkpoints")
    if unknown:
        step.say(f"{unknown} lines of keys not known to you were passed over")


def check_time_tokens(
    text: str, tokens: Sequence[bytes], trust: TrustFolder, verdict: Verdict, *, of: str = "the checkpoint"
) -> list[str]:
    """The times at which `text`, a note, existed by the word of time stamp authorities. Raises `time.token`.

    Without roots to check them by they stay unchecked, which is said; then there are none.
    """
    with verdict.step("Time stamps on the checkpoint") as step:
        if not trust.time_stamp_roots or not time_tokens.can_check():
            why = f"{TIME_STAMP_ROOTS} is not in your trust folder"
            if trust.time_stamp_roots:
                why = "the package asn1crypto is not installed"
            step.status = "unchecked"
            verdict.note(f"{len(tokens)} time tokens unchecked: {why}", step)
            return []
        stated: list[str] = []
        for position, token in enumerate(tokens):
            stamp = time_tokens.verify_token(
                token, text.encode(), roots=trust.time_stamp_roots, place=f"time_tokens/{position}"
            )
            stated.append(format_time(stamp.time))
            step.say(f"{of} existed at {format_time(stamp.time)}, says {stamp.authority}")
        verdict.facts["times"] = stated
    return stated
