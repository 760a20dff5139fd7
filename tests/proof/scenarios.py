"""What to show the verifier so that it says everything it can say: files of small logs made here, right and wrong."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from compliance.proof import cose_receipt, layout, merkle, note
from compliance.proof.canonical import encode
from compliance.proof.post_quantum import PostQuantumPrivateKey
from compliance.proof.times import format_time
from compliance.proof.tlog_proof import build as build_proof
from compliance.proof.trust import TIME_STAMP_ROOTS
from compliance.proof.witness_protocol import AddCheckpoint
from tests.proof import defects
from tests.proof.time_stamps import Authority, authority, respond
from tests.proof.world import METER, START, World, key_of

ISSUED_AT = 1_777_878_000  # 2026-05-04T07:00:00Z
Words = list[str]  # of the command, beginning with the file


def made() -> World:
    """A log with an organisation, acme, and the three entries of a meter."""
    world = World()
    world.create()
    world.register_organisation("acme", "acme")
    world.append("acme", ["acme"], [defects.assembled(world), defects.step(world)])
    world.append("acme", ["acme"], [defects.step(world)])
    return world


def linked_and_unpinned(folder: Path) -> Words:
    world = World()
    world.create()
    world.register_organisation("acme", "acme")
    (folder / "bundle").write_bytes(defects.linked(world))
    world.write_trust(folder / "trust", pins={})
    return ["bundle"]


def vouched_by_the_platform(folder: Path) -> Words:
    world = made()
    world.append(
        "platform", ["platform"], [defects.step(world), defects.step(world)], on_behalf_of="acme", credential="c-1"
    )
    return shown(world, folder)


def redacted(folder: Path) -> Words:
    world = made()
    world.redact(len(world.leaves) - 2)
    return shown(world, folder)


def redacted_log(folder: Path) -> Words:
    redacted(folder)
    world = made()
    world.redact(len(world.leaves) - 2)
    world.write_log(folder / "log")
    return ["log"]


def shown(world: World, folder: Path, *subjects: str) -> Words:
    (folder / "bundle").write_bytes(world.bundle(*(subjects or (defects.M1,))))
    world.write_trust(folder / "trust")
    return ["bundle"]


def six_subjects(folder: Path) -> Words:
    world = made()
    meters = [METER.format(number) for number in range(2, 7)]
    world.append("acme", ["acme"], [world.event(about, "mfg.assembled") for about in meters])
    return shown(world, folder, defects.M1, *meters)


def key_lost_before_an_entry(folder: Path) -> Words:
    world = made()
    world.append("acme", ["acme", "acme-2"], [world.key_registered("acme", "acme-2")])
    lost_at = format_time(START + timedelta(minutes=world.minutes))
    world.append("acme", ["acme-2"], [defects.step(world)])
    world.append("acme", ["acme"], [world.key_revoked("acme-2", lost_at, "lost")])
    return shown(world, folder)


def one_person_where_two_are_asked_for(folder: Path) -> Words:
    world = made()
    world.append("acme", ["acme"], [world.event(defects.M1, "cell.exited")])
    return shown(world, folder)


def one_organisation_where_two_are_asked_for(folder: Path) -> Words:
    world = made()
    world.append("acme", ["acme"], [world.event(defects.M1, "ownership.transferred")])
    return shown(world, folder)


def without_a_witness(folder: Path) -> Words:
    world = made()
    world.write_trust(folder / "trust", quorum="none")
    (folder / "checkpoint").write_text(world.note(witnessed=False))
    return ["checkpoint"]


def with_a_witness_nobody_asked_for(folder: Path) -> Words:
    world = made()
    world.write_trust(folder / "trust", quorum="none")
    strangers = [note.NoteSigner(f"stranger.example/{number}", key_of("stranger")) for number in range(2)]
    text = world.checkpoint().to_text()
    (folder / "checkpoint").write_text(world.note() + "".join(signer.line(text) for signer in strangers))
    return ["checkpoint"]


def with_a_post_quantum_line(folder: Path) -> Words:
    world = made()
    trust = world.write_trust(folder / "trust", quorum="none")
    second = note.NoteSigner(
        world.origin, PostQuantumPrivateKey(MLDSA44PrivateKey.from_seed_bytes(b"seed" * 8)), note.TYPE_MLDSA44
    )
    with (trust / "policy").open("a") as policy:
        policy.write(f"log {second.vkey}\n")
    text = world.checkpoint().to_text()
    (folder / "checkpoint").write_text(world.note() + second.line(text, time=ISSUED_AT))
    return ["checkpoint"]


def heads_alone(folder: Path) -> Words:
    world = made()
    world.write_trust(folder / "trust")
    (folder / "heads").write_bytes(world.heads_envelope(["organisation:org:acme", defects.M1]))
    return ["heads"]


def heads_of_another_log(folder: Path) -> Words:
    world = made()
    world.write_trust(folder / "trust")
    world.origin = "log.example.test/other"
    (folder / "heads").write_bytes(world.heads_envelope([defects.M1]))
    return ["heads"]


def batch_alone(folder: Path) -> Words:
    world = made()
    world.write_trust(folder / "trust")
    (folder / "batch").write_bytes(next(reversed(world.batches.values())).ndjson)
    keys = [{"organisation": "acme", "key": key_of("acme").public.to_object()}]
    (folder / "keys").write_text(json.dumps(keys))
    return ["batch", "--keys", "keys"]


def batch_without_keys(folder: Path) -> Words:
    return batch_alone(folder)[:1]


def batch_for_another_log(folder: Path) -> Words:
    batch_alone(folder)
    World(origin="log.example.test/other").write_trust(folder / "trust")
    return ["batch", "--keys", "keys"]


def batch_with_a_wrong_event(folder: Path) -> Words:
    batch_alone(folder)
    (folder / "batch").write_bytes((folder / "batch").read_bytes().replace(b'"schema":1,', b'"schema":1.5,'))
    return ["batch", "--keys", "keys"]


def keys_of_another_form(folder: Path) -> Words:
    batch_alone(folder)
    (folder / "keys").write_text('[{"organisation":"acme"}]')
    return ["batch", "--keys", "keys"]


def keys_of_no_organisation(folder: Path) -> Words:
    batch_alone(folder)
    (folder / "keys").write_bytes(encode([{"organisation": "A", "key": key_of("acme").public.to_object()}]))
    return ["batch", "--keys", "keys"]


def proof_file(folder: Path) -> Words:
    world = made()
    world.write_trust(folder / "trust")
    (folder / "entry").write_bytes(world.leaves[2].data)
    text = build_proof(index=2, path=merkle.inclusion_path(world.hashes, 2), checkpoint=world.note())
    (folder / "proof").write_text(text)
    return ["proof", "--entry", "entry"]


def proof_file_without_its_entry(folder: Path) -> Words:
    return proof_file(folder)[:1]


def proof_file_of_another_entry(folder: Path) -> Words:
    words = proof_file(folder)
    (folder / "entry").write_bytes(made().leaves[3].data)
    return words


def proof_file_that_is_no_text(folder: Path) -> Words:
    words = proof_file(folder)
    (folder / "proof").write_bytes((folder / "proof").read_bytes() + b"\xff")
    return words


def consistency(folder: Path, *, kept: int = 4, first: int = 4) -> Words:
    world = made()
    world.write_trust(folder / "trust")
    hashes, newest = world.hashes, world.note()
    path = tuple(merkle.consistency_path(hashes, first))
    (folder / "proof").write_bytes(AddCheckpoint(first, path, newest).to_bytes())
    del world.leaves[kept:]
    (folder / "old").write_text(world.note(witnessed=False))
    return ["proof", "--checkpoint", "old"]


def consistency_without_the_older_checkpoint(folder: Path) -> Words:
    return consistency(folder)[:1]


def consistency_with_another_size(folder: Path) -> Words:
    return consistency(folder, kept=3)


def consistency_of_another_history(folder: Path) -> Words:
    words = consistency(folder)
    world = made()
    del world.leaves[4:]
    world.leaves[3].data += b" "
    (folder / "old").write_text(world.note())
    return words


def consistency_with_a_checkpoint_of_another_log(folder: Path) -> Words:
    words = consistency(folder)
    text = World(origin="log.example.test/other").checkpoint().to_text()
    (folder / "old").write_text(note.sign(text, [World().signer]))
    return words


def consistency_with_a_checkpoint_that_is_no_text(folder: Path) -> Words:
    words = consistency(folder)
    (folder / "old").write_bytes(b"\xff")
    return words


def consistency_proof_of_another_form(folder: Path) -> Words:
    words = consistency(folder)
    (folder / "proof").write_bytes((folder / "proof").read_bytes().replace(b"old 4", b"old 04"))
    return words


def receipt_of_inclusion(folder: Path, **changes: Any) -> Words:
    world = made()
    world.write_trust(folder / "trust")
    hashes = world.hashes
    values: dict[str, Any] = {
        "log": world.origin,
        "subject": world.leaves[2].subject,
        "index": 2,
        "size": len(hashes),
        "path": merkle.inclusion_path(hashes, 2),
        "root": merkle.root(hashes),
        "at": ISSUED_AT,
        "key": world.receipt_key,
    }
    (folder / "receipt").write_bytes(cose_receipt.sign_inclusion(**values | changes))
    (folder / "entry").write_bytes(world.leaves[2].data)
    return ["receipt", "--entry", "entry"]


def receipt_of_inclusion_in_another_log(folder: Path) -> Words:
    return receipt_of_inclusion(folder, log="log.example.test/other")


def receipt_of_inclusion_about_another_subject(folder: Path) -> Words:
    return receipt_of_inclusion(folder, subject=defects.M2)


def receipt_of_consistency(folder: Path, *, kept: int = 4, **changes: Any) -> Words:
    world = made()
    world.write_trust(folder / "trust")
    hashes = world.hashes
    values: dict[str, Any] = {
        "log": world.origin,
        "first": 4,
        "second": len(hashes),
        "path": merkle.consistency_path(hashes, 4),
        "root": merkle.root(hashes),
        "at": ISSUED_AT,
        "key": world.receipt_key,
    }
    (folder / "receipt").write_bytes(cose_receipt.sign_consistency(**values | changes))
    del world.leaves[kept:]
    (folder / "old").write_text(world.note())
    return ["receipt", "--checkpoint", "old"]


def receipt_of_consistency_with_another_size(folder: Path) -> Words:
    return receipt_of_consistency(folder, kept=3)


def receipt_of_consistency_of_another_log(folder: Path) -> Words:
    return receipt_of_consistency(folder, log="log.example.test/other")


def stamped(folder: Path, *, roots: Authority | None, by: Authority | None = None) -> Words:
    by = by or authority()
    world = made()
    trust = world.write_trust(folder / "trust")
    token = respond(by, world.note().encode())
    (folder / "bundle").write_bytes(world.bundle(defects.M1, time_tokens=[token]))
    if roots is not None:
        (trust / TIME_STAMP_ROOTS).write_bytes(roots.root.public_bytes(serialization.Encoding.PEM))
    return ["bundle"]


def stamped_by_who_is_trusted(folder: Path) -> Words:
    by = authority()
    return stamped(folder, roots=by, by=by)


def stamped_by_who_is_not_trusted(folder: Path) -> Words:
    return stamped(folder, roots=authority())


def stamped_without_roots(folder: Path) -> Words:
    return stamped(folder, roots=None)


def log_with_a_time_stamp(folder: Path, *, anchored: World | None = None) -> Words:
    by, world = authority(), made()
    trust, log = world.write_trust(folder / "trust"), world.write_log(folder / "log")
    (trust / TIME_STAMP_ROOTS).write_bytes(by.root.public_bytes(serialization.Encoding.PEM))
    if anchored is None:
        anchored = made()
        del anchored.leaves[5:]
    (log / "checkpoint.anchored").write_text(anchored.note())
    (log / "checkpoint.tsr").write_bytes(respond(by, anchored.note().encode()))
    return ["log"]


def log_with_a_time_stamp_of_another_history(folder: Path) -> Words:
    other = made()
    other.leaves[3].data += b" "
    return log_with_a_time_stamp(folder, anchored=other)


def log_with_a_time_stamp_from_later(folder: Path) -> Words:
    later = made()
    later.append("acme", ["acme"], [defects.step(later)])
    return log_with_a_time_stamp(folder, anchored=later)


def log_with_a_time_stamp_alone(folder: Path) -> Words:
    words = log_with_a_time_stamp(folder)
    (folder / "log/checkpoint.anchored").unlink()
    return words


def log_with_a_stamped_checkpoint_alone(folder: Path) -> Words:
    words = log_with_a_time_stamp(folder)
    (folder / "log/checkpoint.tsr").unlink()
    return words


def log_with_a_stamped_checkpoint_that_is_no_text(folder: Path) -> Words:
    words = log_with_a_time_stamp(folder)
    (folder / "log/checkpoint.anchored").write_bytes(b"\xff")
    return words


def log_with_a_time_stamp_over_something_else(folder: Path) -> Words:
    words = log_with_a_time_stamp(folder)
    (folder / "log/checkpoint.anchored").write_text(made().note())
    return words


def log_with_a_stamped_checkpoint_by_a_stranger(folder: Path) -> Words:
    words = log_with_a_time_stamp(folder)
    world = made()
    world.log_key = key_of("stranger")
    (folder / "log/checkpoint.anchored").write_text(world.note())
    return words


def log_without_batches(folder: Path) -> Words:
    world = made()
    world.write_trust(folder / "trust")
    world.write_log(folder / "log", batches=False)
    return ["log"]


def log_that_grew_under_an_old_checkpoint(folder: Path) -> Words:
    """A larger log left its tiles, full ones among them; other files lie about."""
    world = made()
    world.append("acme", ["acme"], [world.event(METER.format(number), "mfg.assembled") for number in range(300)])
    world.write_trust(folder / "trust")
    log = world.write_log(folder / "log")
    del world.leaves[250:]
    (log / "checkpoint").write_text(world.note())
    (log / "tile/0/notes.txt").write_text("hello")
    (log / "batches/README").write_text("hello")
    return ["log"]


def log_of_three_levels(folder: Path) -> Words:
    world = made()
    for first in range(0, 700, 350):
        events = [world.event(METER.format(first + number), "mfg.assembled") for number in range(350)]
        world.append("acme", ["acme"], events)
        world.write_log(folder / "log")
    world.write_trust(folder / "trust")
    return ["log"]


def log_of_three_levels_with_a_wrong_root_tile(folder: Path) -> Words:
    words = log_of_three_levels(folder)
    next((folder / "log/tile/1/000.p").glob("2")).write_bytes(b"\x00" * 64)
    return words


def log_of_three_levels_with_a_wrong_leaf(folder: Path) -> Words:
    words = log_of_three_levels(folder)
    tile = folder / "log/tile/0/001"
    tile.write_bytes(tile.read_bytes()[:-32] + b"\x00" * 32)
    return words


def log_of_three_levels_with_a_wrong_entry(folder: Path) -> Words:
    words = log_of_three_levels(folder)
    path = folder / "log/tile/entries/001"
    entries = layout.decode_entry_bundle(path.read_bytes())
    path.write_bytes(layout.encode_entry_bundle([*entries[:7], entries[8], *entries[8:]]))
    return words


MADE: tuple[Callable[[Path], Words], ...] = (
    linked_and_unpinned,
    vouched_by_the_platform,
    redacted,
    redacted_log,
    six_subjects,
    key_lost_before_an_entry,
    one_person_where_two_are_asked_for,
    one_organisation_where_two_are_asked_for,
    without_a_witness,
    with_a_witness_nobody_asked_for,
    with_a_post_quantum_line,
    heads_alone,
    heads_of_another_log,
    batch_alone,
    batch_without_keys,
    batch_for_another_log,
    batch_with_a_wrong_event,
    keys_of_another_form,
    keys_of_no_organisation,
    proof_file,
    proof_file_without_its_entry,
    proof_file_of_another_entry,
    proof_file_that_is_no_text,
    consistency,
    consistency_without_the_older_checkpoint,
    consistency_with_another_size,
    consistency_of_another_history,
    consistency_with_a_checkpoint_of_another_log,
    consistency_with_a_checkpoint_that_is_no_text,
    consistency_proof_of_another_form,
    receipt_of_inclusion,
    receipt_of_inclusion_in_another_log,
    receipt_of_inclusion_about_another_subject,
    receipt_of_consistency,
    receipt_of_consistency_with_another_size,
    receipt_of_consistency_of_another_log,
    stamped_by_who_is_trusted,
    stamped_by_who_is_not_trusted,
    stamped_without_roots,
    log_with_a_time_stamp,
    log_with_a_time_stamp_of_another_history,
    log_with_a_time_stamp_from_later,
    log_with_a_time_stamp_alone,
    log_with_a_stamped_checkpoint_alone,
    log_with_a_stamped_checkpoint_that_is_no_text,
    log_with_a_time_stamp_over_something_else,
    log_with_a_stamped_checkpoint_by_a_stranger,
    log_without_batches,
    log_that_grew_under_an_old_checkpoint,
    log_of_three_levels,
    log_of_three_levels_with_a_wrong_root_tile,
    log_of_three_levels_with_a_wrong_leaf,
    log_of_three_levels_with_a_wrong_entry,
)
