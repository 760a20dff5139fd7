"""One defect at a time in a world where all else is right: each is refused by its own reason code, at its place."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from compliance.proof import dsse, layout
from compliance.proof.canonical import encode
from compliance.proof.errors import ProofError
from compliance.proof.facts import read_fact
from compliance.proof.key_lines import PINNED, VOUCHED_LOG, KeyLines, KeyRegister
from compliance.proof.steps import Verdict
from compliance.proof.times import format_time
from compliance.proof.verify import Asked, verify_file
from tests.proof import defects
from tests.proof.world import METER, START, key_of

REFUSALS: dict[str, list[str | None]] = json.loads(Path(__file__).with_name("refusals.json").read_text())


def where(verdict: Verdict) -> list[str | None]:
    """The place that is named, and the step in which."""
    (failed,) = [step for step in verdict.steps if step.code]
    assert verdict.error is not None
    assert (failed.code, failed.place) == (verdict.error.code, verdict.error.place)
    assert failed.status == ("unchecked" if verdict.exit_status == 2 else "bad")
    return [failed.title, failed.place]


BUNDLES: list[tuple[str, defects.Make]] = [
    ("chain.gap", defects.chain_gap),
    ("chain.order", defects.chain_order),
    ("chain.prev", defects.chain_prev),
    ("chain.time", defects.chain_time),
    ("chain.batch_order", defects.chain_batch_order),
    ("chain.corrects", defects.chain_corrects),
    ("chain.closed", defects.chain_closed),
    ("subject.alias", defects.alias_never_joined),
    ("subject.alias", defects.alias_joined_too_late),
    ("log.first", defects.log_first_of_another_log),
    ("log.first", defects.leaf_zero_not_shown),
    ("batch.log", defects.batch_for_another_log),
    ("batch.path", defects.entry_at_another_position),
    ("batch.path", defects.position_beyond_the_batch),
    ("batch.path", defects.bundle_event_path_wrong),
    ("batch.index_twice", defects.position_used_twice),
    ("batch.missing", defects.batch_left_out),
    ("bundle.unused", defects.batch_nobody_names),
    ("bundle.unused", defects.entry_nobody_asked_for),
    ("event.id_twice", defects.one_event_id_twice),
    ("bundle.incomplete", defects.signed_by_nobody_registered),
    ("key.not_valid", defects.key_used_before_valid_from),
    ("key.not_valid", defects.key_used_after_valid_until),
    ("key.revoked", defects.key_used_after_revocation),
    ("key.issuer", defects.no_signature_of_the_issuer),
    ("key.line", defects.key_without_possession),
    ("key.line", defects.two_keys_for_each_other),
    ("key.line", defects.key_registered_late_in_its_chain),
    ("key.pin", defects.second_line_of_keys),
    ("event.authority", defects.platform_type_by_a_sender),
    ("event.authority", defects.platform_type_vouched_for),
    ("event.authority", defects.key_registered_by_another),
    ("event.authority", defects.key_revoked_by_another),
    ("link.cause", defects.cause_not_shown),
    ("link.cause", defects.cause_of_another_seq),
    ("link.effect", defects.effect_of_another_type),
    ("link.member", defects.meter_not_on_the_unit),
    ("redaction.unexplained", defects.bytes_gone_unexplained),
    ("redaction.mismatch", defects.redaction_of_another_hash),
    ("redaction.mismatch", defects.redaction_of_a_later_leaf),
    ("redaction.mismatch", defects.redaction_of_an_entry_that_is_shown),
    ("bundle.incomplete", defects.chain_shorter_than_its_head),
    ("bundle.incomplete", defects.subject_without_an_entry),
    ("heads.subjects", defects.head_left_out),
    ("heads.subjects", defects.head_nobody_asked_for),
    ("heads.subjects", defects.head_before_the_last_entry),
    ("heads.subjects", defects.head_of_another_entry),
    ("heads.checkpoint", defects.heads_of_another_tree),
    ("receipt.key", defects.heads_by_another_key),
    ("envelope.signature", defects.heads_signature_broken),
    ("heads.form", defects.heads_unsorted),
    ("proof.inclusion", defects.checkpoint_of_another_root),
    ("proof.inclusion", defects.bundle_path_too_long),
    ("note.unknown_key", defects.checkpoint_by_a_stranger),
    ("note.signature", defects.checkpoint_signature_broken),
    ("checkpoint.form", defects.checkpoint_of_four_lines),
    ("checkpoint.origin", defects.checkpoint_of_another_origin),
    ("note.form", defects.checkpoint_no_note),
    ("policy.quorum", defects.checkpoint_without_witness),
    ("bundle.log", defects.bundle_of_another_log),
    ("bundle.form", defects.bundle_unsorted),
    ("bundle.form", defects.bundle_with_a_member_more),
    ("json.not_canonical", defects.bundle_not_canonical),
    ("bundle.version", defects.bundle_version_two),
    ("envelope.payload_type", defects.bundle_envelope_of_another_type),
    ("envelope.signatures", defects.bundle_envelope_without_signature),
    ("envelope.form", defects.bundle_envelope_malformed),
    ("entry.form", defects.bundle_entry_malformed),
]


@pytest.mark.parametrize(("code", "make"), BUNDLES, ids=lambda item: item if isinstance(item, str) else item.__name__)
def test_a_bundle_with_one_defect_is_refused(code, make, world, tmp_path):
    trust = world.write_trust(tmp_path / "trust")
    file = tmp_path / "bundle.proof"
    file.write_bytes(make(world))
    verdict = verify_file(file, trust)
    assert verdict.error is not None
    assert verdict.error.code == code, verdict.error
    assert verdict.exit_status == (2 if code == "bundle.version" else 1)
    assert where(verdict) == REFUSALS[make.__name__]


def no_tile(folder: Path) -> None:
    next((folder / "tile/0/000.p").iterdir()).unlink()


def short_tile(folder: Path) -> None:
    tile = next((folder / "tile/0/000.p").iterdir())
    tile.write_bytes(tile.read_bytes()[:-1])


def edited_tile(folder: Path) -> None:
    tile = next((folder / "tile/0/000.p").iterdir())
    tile.write_bytes(bytes([tile.read_bytes()[0] ^ 1]) + tile.read_bytes()[1:])


def edited_old_tile(folder: Path) -> None:
    (folder / "tile/0/000.p/1").write_bytes(b"\x00" * 32)


def no_entries(folder: Path) -> None:
    next((folder / "tile/entries/000.p").iterdir()).unlink()


def fewer_entries(folder: Path) -> None:
    file = next((folder / "tile/entries/000.p").iterdir())
    file.write_bytes(layout.encode_entry_bundle(layout.decode_entry_bundle(file.read_bytes())[:-1]))


def entries_cut(folder: Path) -> None:
    file = next((folder / "tile/entries/000.p").iterdir())
    file.write_bytes(file.read_bytes()[:-1])


def edited_old_entries(folder: Path) -> None:
    (folder / "tile/entries/000.p/1").write_bytes(layout.encode_entry_bundle([b"{}"]))


def swapped_entries(folder: Path) -> None:
    file = next((folder / "tile/entries/000.p").iterdir())
    entries = layout.decode_entry_bundle(file.read_bytes())
    file.write_bytes(layout.encode_entry_bundle([entries[1], entries[0], *entries[2:]]))


def emptied_entry(folder: Path) -> None:
    file = next((folder / "tile/entries/000.p").iterdir())
    entries = layout.decode_entry_bundle(file.read_bytes())
    file.write_bytes(layout.encode_entry_bundle([*entries[:-1], b""]))


def no_batch(folder: Path) -> None:
    min((folder / "batches").iterdir()).unlink()


def renamed_batch(folder: Path) -> None:
    file = min((folder / "batches").iterdir())
    file.rename(file.with_name("00" * 32 + ".json"))


def batch_with_a_hash_less(folder: Path) -> None:
    _edit_batch(folder, lambda value: value["event_hashes"].pop())


def batch_with_another_hash(folder: Path) -> None:
    _edit_batch(folder, lambda value: value["event_hashes"].__setitem__(0, "ab" * 32))


def batch_with_a_member_more(folder: Path) -> None:
    _edit_batch(folder, lambda value: value.update(more=1))


def no_checkpoint(folder: Path) -> None:
    (folder / "checkpoint").unlink()


def _edit_batch(folder: Path, change: Callable[[Any], object]) -> None:
    file = min((folder / "batches").iterdir())
    value = json.loads(file.read_bytes())
    change(value)
    file.write_bytes(encode(value))


FOLDERS: list[tuple[str, Callable[[Path], None]]] = [
    ("tile.missing", no_tile),
    ("tile.size", short_tile),
    ("tile.root", edited_tile),
    ("tile.hash", edited_old_tile),
    ("tile.missing", no_entries),
    ("entries.form", fewer_entries),
    ("entries.form", entries_cut),
    ("entry.hash", edited_old_entries),
    ("entry.hash", swapped_entries),
    ("redaction.unexplained", emptied_entry),
    ("batch.missing", no_batch),
    ("batch.id", renamed_batch),
    ("batch.count", batch_with_a_hash_less),
    ("batch.root", batch_with_another_hash),
    ("batch.form", batch_with_a_member_more),
    ("file.missing", no_checkpoint),
]


@pytest.mark.parametrize(("code", "spoil"), FOLDERS, ids=lambda item: item if isinstance(item, str) else item.__name__)
def test_a_log_folder_with_one_defect_is_refused(code, spoil, world, tmp_path):
    trust = world.write_trust(tmp_path / "trust")
    world.append("acme", ["acme"], [defects.assembled(world), defects.step(world)])
    folder = world.write_log(tmp_path / "log")
    assert verify_file(folder, trust).error is None
    spoil(folder)
    verdict = verify_file(folder, trust)
    assert verdict.error is not None
    assert verdict.error.code == code, verdict.error
    assert verdict.exit_status == (2 if code == "file.missing" else 1)
    assert where(verdict) == REFUSALS[spoil.__name__]


def test_a_log_without_batches_says_that_authors_were_not_checked(world, tmp_path):
    folder = world.write_log(tmp_path / "log", batches=False)
    verdict = verify_file(folder, world.write_trust(tmp_path / "trust"))
    assert verdict.exit_status == 0
    assert any("authors not checked" in said for said in verdict.notes)
    assert any(step.status == "unchecked" for step in verdict.steps)


def test_a_key_of_a_log_that_nobody_registered_is_unknown(world, tmp_path):
    world.append("acme", ["acme", "stranger"], [defects.assembled(world)])
    verdict = verify_file(world.write_log(tmp_path / "log"), world.write_trust(tmp_path / "trust"))
    assert verdict.error is not None
    assert verdict.error.code == "key.unknown"


def test_a_key_without_possession_has_no_line(world, tmp_path):
    world.append("acme", ["acme"], [world.key_registered("acme", "acme-2")])
    verdict = verify_file(world.write_log(tmp_path / "log"), world.write_trust(tmp_path / "trust"))
    assert verdict.error is not None
    assert verdict.error.code == "key.line"


PINS = [
    ([], "acme-3", VOUCHED_LOG),
    (["acme"], "acme-3", PINNED),
    (["acme-2"], "acme-3", PINNED),
    (["acme-3"], "acme-3", PINNED),
    (["acme-4"], "acme-3", None),
    (["acme-2"], "acme", None),
    (["twin-1"], "twin-2", PINNED),
    (["twin-2"], "twin-1", PINNED),
    (["twin-1"], "acme-3", None),
    (["usurper"], "acme-3", None),
    (["acme"], "usurper", None),
]


@pytest.mark.parametrize(("pins", "key", "standing"), PINS, ids=str)
def test_a_pin_covers_a_key_and_those_it_brought_in(pins, key, standing, world):
    """acme brought in acme-2, that acme-3, that acme-4; acme-3 brought in two twins at once; the operator a usurper."""
    world.append("acme", ["acme", "acme-2"], [world.key_registered("acme", "acme-2")])
    world.append("acme", ["acme-2", "acme-3"], [world.key_registered("acme", "acme-3")])
    world.append("acme", ["acme-3", "acme-4"], [world.key_registered("acme", "acme-4")])
    twins = [world.key_registered("acme", "twin-1"), world.key_registered("acme", "twin-2")]
    world.append("acme", ["acme-3", "twin-1", "twin-2"], twins)
    world.register_organisation("acme", "usurper")
    facts = [read_fact(index, leaf.data) for index, leaf in enumerate(world.leaves)]
    envelopes = {
        batch_id: dsse.read_envelope(signed.envelope, payload_type=dsse.BATCH_TYPE)
        for batch_id, signed in world.batches.items()
    }
    lines = KeyLines(KeyRegister(facts), {batch_id: item.keyids for batch_id, item in envelopes.items()})
    lines.require_good()
    pinned = {"acme": frozenset(key_of(name).public.keyid for name in pins)} if pins else {}
    if standing is not None:
        assert lines.standing(key_of(key).public.keyid, pinned) == standing
        return
    with pytest.raises(ProofError) as refused:
        lines.standing(key_of(key).public.keyid, pinned)
    assert refused.value.code == "key.pin"


def test_what_the_platform_vouches_for_is_said_to_be_so(world, tmp_path):
    world.append("platform", ["platform"], [defects.assembled(world)], on_behalf_of="acme", credential="c-1")
    file = tmp_path / "bundle.proof"
    file.write_bytes(world.bundle(defects.M1))
    verdict = verify_file(file, world.write_trust(tmp_path / "trust"))
    assert verdict.error is None, verdict.error
    assert {"organisation": "acme", "standing": "vouched by the platform", "entries": 1} in verdict.facts["authors"]


def test_a_redacted_entry_is_said_and_the_rest_verifies(world, tmp_path):
    world.append("acme", ["acme"], [defects.assembled(world), defects.step(world)])
    world.redact(len(world.leaves) - 2)
    world.append("acme", ["acme"], [defects.step(world, "meter:dlms_ldn:ALE1")], chain_of={0: defects.M1})
    trust = world.write_trust(tmp_path / "trust")
    file = tmp_path / "bundle.proof"
    file.write_bytes(world.bundle(defects.M1))
    for path in (file, world.write_log(tmp_path / "log")):
        verdict = verify_file(path, trust)
        assert verdict.error is None, verdict.error
        assert len(verdict.redacted) == 1
        assert any("is not shown" in said for said in verdict.notes)


def test_entries_of_organisations_are_never_redacted(world):
    """The operator cannot make a key's registration or revocation unreadable: such an event is not even well formed."""
    leaf = next(index for index, stored in enumerate(world.leaves) if stored.subject == "organisation:org:acme")
    with pytest.raises(ProofError) as refused:
        world.redact(leaf)
    assert refused.value.code == "event.data"


def test_a_stated_loss_is_said_beside_the_entries_in_between(world, tmp_path):
    world.append("acme", ["acme", "acme-2"], [world.key_registered("acme", "acme-2")])
    lost_at = format_time(START + timedelta(minutes=world.minutes))
    world.append("acme", ["acme-2"], [defects.assembled(world)])
    world.append("acme", ["acme"], [world.key_revoked("acme-2", lost_at, "lost")])
    file = tmp_path / "bundle.proof"
    file.write_bytes(world.bundle(defects.M1))
    verdict = verify_file(file, world.write_trust(tmp_path / "trust"))
    assert verdict.error is None, verdict.error
    said = [line for line in verdict.notes if "signed after the stated loss" in line]
    assert any(defects.M1 in line for line in said)


def test_two_people_are_two_persons_not_two_keys(world, tmp_path):
    """Keys of a station, or two keys of one person, are no second person; the entry stands, the lack is said."""
    one = world.key_registered("acme", "acme-2", holder={"station": "st-1"})
    two = world.key_registered("acme", "acme-3", holder={"person": "p-acme"})
    three = world.key_registered("acme", "acme-4", holder={"person": "p-other"})
    world.append("acme", ["acme", "acme-2", "acme-3", "acme-4"], [one, two, three])
    trust = world.write_trust(tmp_path / "trust")
    for keys, lacking in ((["acme", "acme-2"], True), (["acme", "acme-3"], True), (["acme", "acme-4"], False)):
        about = METER.format(100 + len(world.leaves))
        world.append("acme", keys, [world.event(about, "cell.exited")])
        file = tmp_path / "bundle.proof"
        file.write_bytes(world.bundle(about))
        verdict = verify_file(file, trust)
        assert verdict.error is None, verdict.error
        assert any("violation.second_signature" in said for said in verdict.notes) == lacking


def test_a_lone_batch_needs_keys(world, tmp_path):
    signed = world.append("acme", ["acme"], [defects.assembled(world)])
    file = tmp_path / "batch.ndjson"
    file.write_bytes(signed.ndjson)
    trust = world.write_trust(tmp_path / "trust")
    verdict = verify_file(file, trust)
    assert verdict.error is not None
    assert (verdict.error.code, verdict.exit_status) == ("keys.missing", 2)
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"organisation": "acme", "key": key_of("acme").public.to_object()}]))
    assert verify_file(file, trust, asked=Asked(keys=keys)).exit_status == 0
    keys.write_text(json.dumps([{"organisation": "acme", "key": key_of("other").public.to_object()}]))
    unknown = verify_file(file, trust, asked=Asked(keys=keys))
    assert unknown.error is not None
    assert (unknown.error.code, unknown.exit_status) == ("key.unknown", 1)
