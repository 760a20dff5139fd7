"""Files under keys of the log that were revoked, and trust folders that say so."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from compliance.proof import note, receipt, subject
from compliance.proof.times import format_time
from compliance.proof.trust import LOG_KEYS, TIME_STAMP_ROOTS
from tests.proof import defects
from tests.proof.scenarios import (
    Words,
    heads_alone,
    made,
    receipt_of_consistency,
    receipt_of_inclusion,
    shown,
)
from tests.proof.time_stamps import authority, respond
from tests.proof.world import START, World, key_of


def log_signed_by_a_key_it_revokes(folder: Path) -> Words:
    world = made()
    end_key(world, "log", world.signer.verifier.id.hex(), "superseded")
    world.write_trust(folder / "trust")
    world.write_log(folder / "log")
    return ["log"]


def end_key(world: World, use: str, keyid: str, reason: str, *, minutes: int = 60) -> None:
    data = {"use": use, "keyid": keyid, "effective_at": format_time(START + timedelta(minutes=minutes))}
    event = world.event(subject.log(world.origin), "log.key_revoked", {**data, "reason": reason})
    world.append("platform", ["platform"], [event])


def under_the_old_log_key(folder: Path, reason: str, *, stamped: bool = False, minutes: int = 60) -> Words:
    """A bundle under the first log key, which the log revoked since; the trust folder says so."""
    world, by = made(), authority()
    tokens = [respond(by, world.note().encode())] if stamped else []
    (folder / "bundle").write_bytes(world.bundle(defects.M1, time_tokens=tokens))
    old, new = world.signer, note.NoteSigner(world.origin, key_of("log-2"))
    added = world.event(subject.log(world.origin), "log.key_added", {"use": "log", "key": new.vkey})
    world.append("platform", ["platform"], [added])
    end_key(world, "log", old.verifier.id.hex(), reason, minutes=minutes)
    world.log_key = key_of("log-2")
    trust = world.write_trust(folder / "trust")
    with (trust / "policy").open("a") as policy:
        policy.write(f"log {old.vkey}\n")
    (trust / LOG_KEYS).write_bytes(world.bundle(subject.log(world.origin)))
    (trust / TIME_STAMP_ROOTS).write_bytes(by.root.public_bytes(serialization.Encoding.PEM))
    return ["bundle"]


def under_a_log_key_given_up(folder: Path) -> Words:
    return under_the_old_log_key(folder, "superseded by another")


def under_a_stolen_log_key(folder: Path) -> Words:
    return under_the_old_log_key(folder, "stolen")


def under_a_stolen_log_key_but_dated_before(folder: Path) -> Words:
    return under_the_old_log_key(folder, "stolen", stamped=True)


def under_a_stolen_log_key_and_dated_after(folder: Path) -> Words:
    return under_the_old_log_key(folder, "stolen", stamped=True, minutes=10)


def trust_in_a_revoked_key(folder: Path) -> Words:
    world = made()
    shown(world, folder)
    end_key(world, "log", world.signer.verifier.id.hex(), "stolen")
    (folder / "trust" / LOG_KEYS).write_bytes(world.bundle(subject.log(world.origin)))
    return ["bundle"]


def trust_whose_proof_is_about_something_else(folder: Path) -> Words:
    shown(made(), folder)
    (folder / "trust" / LOG_KEYS).write_bytes(made().bundle("organisation:org:acme"))
    return ["bundle"]


def trust_whose_proof_does_not_verify(folder: Path) -> Words:
    shown(made(), folder)
    (folder / "trust" / LOG_KEYS).write_bytes(defects.checkpoint_by_a_stranger(made()))
    return ["bundle"]


def heads_by_a_receipt_key_revoked_since(folder: Path, *, minutes: int = 60) -> Words:
    world = made()
    words = heads_alone(folder)
    end_key(world, "receipt", world.receipt_key.public.keyid, "superseded", minutes=minutes)
    (folder / "trust" / LOG_KEYS).write_bytes(world.bundle(subject.log(world.origin)))
    return words


def revoked(words: Words, folder: Path, minutes: int) -> Words:
    """The trust folder tells that the receipt key was revoked."""
    world = made()
    end_key(world, "receipt", world.receipt_key.public.keyid, "stolen", minutes=minutes)
    (folder / "trust" / LOG_KEYS).write_bytes(world.bundle(subject.log(world.origin)))
    return words


def receipt_by_a_key_revoked_before(folder: Path, *, minutes: int = 0) -> Words:
    world = made()
    world.write_trust(folder / "trust")
    payload = receipt.build_payload(
        log=world.origin,
        batch="ab" * 32,
        first=0,
        count=1,
        issued_at=START,
        merge_by=START,
        entries=[],
        refused=[(0, "event.value")],
    )
    (folder / "receipt").write_bytes(receipt.sign(payload, world.receipt_key))
    return revoked(["receipt"], folder, minutes)


def receipt_by_a_key_revoked_since(folder: Path) -> Words:
    return receipt_by_a_key_revoked_before(folder, minutes=1)


def receipt_of_inclusion_by_a_key_revoked_before(folder: Path) -> Words:
    return revoked(receipt_of_inclusion(folder), folder, 60)


def receipt_of_consistency_by_a_key_revoked_since(folder: Path) -> Words:
    return revoked(receipt_of_consistency(folder), folder, 61)


def heads_by_a_receipt_key_revoked_before(folder: Path) -> Words:
    return heads_by_a_receipt_key_revoked_since(folder, minutes=0)


MADE: tuple[Callable[[Path], Words], ...] = (
    log_signed_by_a_key_it_revokes,
    under_a_log_key_given_up,
    under_a_stolen_log_key,
    under_a_stolen_log_key_but_dated_before,
    under_a_stolen_log_key_and_dated_after,
    trust_in_a_revoked_key,
    trust_whose_proof_is_about_something_else,
    trust_whose_proof_does_not_verify,
    heads_by_a_receipt_key_revoked_since,
    heads_by_a_receipt_key_revoked_before,
    receipt_by_a_key_revoked_before,
    receipt_by_a_key_revoked_since,
    receipt_of_inclusion_by_a_key_revoked_before,
    receipt_of_consistency_by_a_key_revoked_since,
)
