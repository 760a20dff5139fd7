"""Bundles with one defect each, made in a world where all else is right."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from compliance.proof import bundle, dsse, entry, merkle, note, subject
from compliance.proof.bundle import BundleEntry
from compliance.proof.canonical import encode
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.heads import Head
from compliance.proof.times import format_time
from tests.proof.world import METER, ORIGIN, START, Stored, World, key_of

M1, M2, UNIT = METER.format(1), METER.format(2), "logistic_unit:sscc:340123450000000017"
Make = Callable[[World], bytes]


def assembled(world: World, about: str = M1, **more: Any) -> dict[str, Any]:
    return world.event(about, "mfg.assembled", {"identifiers": [{"scheme": "dlms_ldn", "value": "ALE1"}]}, **more)


def step(world: World, about: str = M1, **more: Any) -> dict[str, Any]:
    return world.event(about, "mfg.calibrated", {}, **more)


def tampered(**changes: Any) -> Callable[[int, dict[str, Any]], dict[str, Any]]:
    return lambda _, parts: parts | changes


def two_entries(world: World, **changes: Any) -> bytes:
    """A meter's chain of two, the second built with `changes`."""
    world.append("acme", ["acme"], [assembled(world)])
    world.append("acme", ["acme"], [step(world)], tamper=tampered(**changes))
    return world.bundle(M1)


def chain_gap(world: World) -> bytes:
    return two_entries(world, seq=2)


def chain_order(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    first = world.leaves[-1].hash
    world.append("acme", ["acme"], [step(world)])
    world.append("acme", ["acme"], [step(world)], tamper=tampered(seq=1, prev=first))
    return world.bundle(M1)


def chain_prev(world: World) -> bytes:
    return two_entries(world, prev=b"\x00" * 32)


def chain_time(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    earlier = format_time(START + timedelta(minutes=world.minutes) - timedelta(microseconds=1))
    world.append("acme", ["acme"], [step(world)], tamper=tampered(recorded_at=earlier))
    return world.bundle(M1)


def chain_batch_order(world: World) -> bytes:
    signed = world.append("acme", ["acme"], [assembled(world), step(world)])
    first, second = world.leaves[-2:]
    del world.leaves[-2:]
    world.heads.pop(M1)
    prev = None
    for seq, (stored, index) in enumerate(((second, 1), (first, 0))):
        value = entry.read(stored.data)
        stored.data = entry.build(
            batch_id=signed.batch_id,
            event=signed.event_lines[index],
            index=index,
            prev=prev,
            recorded_at=value["recorded_at"],
            salt=b"\x01" * 16,
            seq=seq,
            subject=M1,
        )
        stored.seq, stored.index, prev = seq, index, merkle.leaf_hash(stored.data)
        world.leaves.append(stored)
        world.heads[M1] = seq, prev
    return world.bundle(M1)


def chain_corrects(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world), step(world, corrects="ab" * 32)])
    return world.bundle(M1)


def chain_closed(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    world.append("acme", ["acme", "acme-2"], [world.key_registered("acme", "acme-2")])
    world.append("acme", ["acme-2"], [world.key_revoked("acme", "2026-05-04T07:00:00Z")])
    world.append("acme", ["acme-2"], [world.key_revoked("acme", "2026-05-04T07:00:00Z")])
    return world.bundle(M1)


def alias_never_joined(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    world.append("acme", ["acme"], [step(world, "meter:dlms_ldn:ALE2")], chain_of={0: M1})
    return world.bundle(M1)


def alias_joined_too_late(world: World) -> bytes:
    world.append("acme", ["acme"], [step(world)])
    world.append("acme", ["acme"], [step(world, "meter:dlms_ldn:ALE1")], chain_of={0: M1})
    world.append("acme", ["acme"], [assembled(world)])
    return world.bundle(M1)


def log_first_of_another_log(world: World) -> bytes:
    other = World(origin="log.example.test/other")
    other.create()
    other.register_organisation("acme", "acme")
    other.append("acme", ["acme"], [assembled(other)])
    other.origin = ORIGIN
    return other.bundle(M1)


def leaf_zero_not_shown(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    return world.bundle(M1, without=[0])


def batch_for_another_log(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)], log="log.example.test/other")
    return world.bundle(M1)


def entry_at_another_position(world: World) -> bytes:
    world.append(
        "acme", ["acme"], [assembled(world), step(world, M2)], tamper=lambda i, parts: parts | {"index": 1 - i}
    )
    return world.bundle(M1)


def position_beyond_the_batch(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    signed = next(reversed(world.batches.values()))
    leaf = world.leaves.pop()
    value = entry.read(leaf.data)
    leaf.data = entry.build(
        batch_id=signed.batch_id,
        event=signed.event_lines[0],
        index=7,
        prev=None,
        recorded_at=value["recorded_at"],
        salt=b"\x01" * 16,
        seq=0,
        subject=M1,
    )
    world.leaves.append(leaf)
    world.heads[M1] = 0, leaf.hash
    return world.bundle(M1)


def position_used_twice(world: World) -> bytes:
    """The operator records one signed event in two chains, of which one joined the other's identifier."""
    joined = assembled(world, M2)
    joined["data"]["identifiers"] = [{"scheme": "dlms_system_title", "value": M1.rpartition(":")[2]}]
    world.append("acme", ["acme"], [joined])
    signed = world.append("acme", ["acme"], [assembled(world)])
    data = entry.build(
        batch_id=signed.batch_id,
        event=signed.event_lines[0],
        index=0,
        prev=world.heads[M2][1],
        recorded_at=world.now(),
        salt=b"\x02" * 16,
        seq=1,
        subject=M2,
    )
    world.leaves.append(Stored(data, M2, 1, signed.batch_id, 0))
    world.heads[M2] = 1, merkle.leaf_hash(data)
    return world.bundle(M1, M2)


def batch_left_out(world: World) -> bytes:
    signed = world.append("acme", ["acme"], [assembled(world)])
    _, whole = world.needed([M1])
    ids = {leaf.batch_id for leaf in world.leaves} - {signed.batch_id}
    assert whole
    return world.bundle(M1, batches=[world.batches[batch_id].envelope for batch_id in ids])


def batch_nobody_names(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    extra = world.append("acme", ["acme"], [step(world, M2)])
    return world.bundle(M1, with_batches=[extra.batch_id])


def entry_nobody_asked_for(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world), assembled(world, M2)])
    return world.bundle(M1, with_leaves=[len(world.leaves) - 1])


def one_event_id_twice(world: World) -> bytes:
    event = assembled(world)
    world.append("acme", ["acme"], [event])
    world.append("acme", ["acme"], [step(world) | {"id": event["id"]}])
    return world.bundle(M1)


def signed_by_nobody_registered(world: World) -> bytes:
    world.append("acme", ["acme", "stranger"], [assembled(world)])
    _, whole = world.needed([M1])
    known = [about for about in whole if about in world.heads]
    return world.bundle(M1, heads_envelope=world.heads_envelope(known))


def key_used_before_valid_from(world: World) -> bytes:
    registered = world.key_registered("acme", "acme-2", valid_from="2026-05-04T06:20:00Z")
    world.append("acme", ["acme", "acme-2"], [registered], tamper=tampered(recorded_at="2026-05-04T06:30:00.000000Z"))
    late = tampered(recorded_at="2026-05-04T06:25:00.000000Z")
    world.append("acme", ["acme-2"], [assembled(world)], tamper=late)
    return world.bundle(M1)


def key_used_after_valid_until(world: World) -> bytes:
    registered = world.key_registered("acme", "acme-2", valid_until="2026-05-04T06:20:00Z")
    world.append("acme", ["acme", "acme-2"], [registered])
    late = tampered(recorded_at="2026-05-04T06:20:00.000000Z")
    world.append("acme", ["acme-2"], [assembled(world)], tamper=late)
    return world.bundle(M1)


def key_used_after_revocation(world: World) -> bytes:
    world.append("acme", ["acme", "acme-2"], [world.key_registered("acme", "acme-2")])
    world.append("acme", ["acme-2"], [world.key_revoked("acme-2", "2026-05-04T06:00:00Z")])
    world.append("acme", ["acme-2"], [assembled(world)])
    return world.bundle(M1)


def no_signature_of_the_issuer(world: World) -> bytes:
    world.register_organisation("zeta", "zeta")
    world.append("acme", ["zeta"], [assembled(world)])
    return world.bundle(M1)


def key_without_possession(world: World) -> bytes:
    world.append("acme", ["acme"], [world.key_registered("acme", "acme-2")])
    world.append("acme", ["acme", "acme-2"], [assembled(world)])
    return world.bundle(M1)


def two_keys_for_each_other(world: World) -> bytes:
    events = [world.key_registered("acme", "new-1"), world.key_registered("acme", "new-2")]
    world.append("acme", ["new-1", "new-2"], events)
    world.append("acme", ["new-1"], [assembled(world)])
    return world.bundle(M1)


def key_registered_late_in_its_chain(world: World) -> bytes:
    world.append("acme", ["acme"], [world.event(subject.signing_key(key_of("new").public.keyid), "mfg.assembled")])
    world.append("acme", ["acme", "new"], [world.key_registered("acme", "new")])
    world.append("acme", ["new"], [assembled(world)])
    return world.bundle(M1)


def second_line_of_keys(world: World) -> bytes:
    """The operator names another first key for acme: your pin of the first does not cover it."""
    world.register_organisation("acme", "usurper")
    world.append("acme", ["usurper"], [assembled(world)])
    return world.bundle(M1)


def platform_type_by_a_sender(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world), world.event(M1, "check.finding_opened")])
    return world.bundle(M1)


def platform_type_vouched_for(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    events = [world.event(M1, "check.finding_opened")]
    world.append("platform", ["platform"], events, on_behalf_of="acme", credential="key-1")
    return world.bundle(M1)


def key_registered_by_another(world: World) -> bytes:
    world.register_organisation("zeta", "zeta")
    world.append("acme", ["acme", "zeta-2"], [world.key_registered("zeta", "zeta-2")])
    world.append("zeta", ["zeta", "zeta-2"], [assembled(world)])
    return world.bundle(M1)


def key_revoked_by_another(world: World) -> bytes:
    world.register_organisation("zeta", "zeta")
    world.append("acme", ["acme"], [assembled(world)])
    world.append("zeta", ["zeta"], [world.key_revoked("acme", "2026-05-04T07:00:00Z")])
    return world.bundle(M1)


def linked(world: World, **changes: Any) -> bytes:
    """A meter packed on a unit, linked to it; `changes` to the cause that the link states."""
    effect = changes.pop("effect", "delivery.packed")
    children = changes.pop("children", [M1])
    world.append("acme", ["acme"], [assembled(world)])
    world.append("acme", ["acme"], [world.event(UNIT, "delivery.packed", {"children": children})])
    cause = {"subject": UNIT, "seq": 0, "hash": world.leaves[-1].hash.hex()} | changes
    world.append("platform", ["platform"], [world.event(M1, "custody.linked", {"cause": cause, "effect": effect})])
    return world.bundle(M1)


def cause_not_shown(world: World) -> bytes:
    linked(world)
    return world.bundle(M1, without=[len(world.leaves) - 2], batches=_batches_of(world, {len(world.leaves) - 2}))


def cause_of_another_seq(world: World) -> bytes:
    return linked(world, seq=1)


def effect_of_another_type(world: World) -> bytes:
    return linked(world, effect="delivery.received")


def meter_not_on_the_unit(world: World) -> bytes:
    return linked(world, children=[M2])


def bytes_gone_unexplained(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    world.leaves[-1].gone = True
    return world.bundle(M1)


def redaction_of_another_hash(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    world.redact(len(world.leaves) - 1, hash="cd" * 32)
    return world.bundle(M1)


def redaction_of_an_entry_that_is_shown(world: World) -> bytes:
    """Its bytes did not go; what the operator says of it is another entry's."""
    world.append("acme", ["acme"], [assembled(world)])
    world.redact(len(world.leaves) - 1, seq=1)
    world.leaves[-2].gone = False
    return world.bundle(M1, with_leaves=[len(world.leaves) - 1])


def redaction_of_a_later_leaf(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    world.redact(len(world.leaves) - 1, named=len(world.leaves))
    return world.bundle(M1, with_leaves=[len(world.leaves) - 1])


def chain_shorter_than_its_head(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    world.append("acme", ["acme"], [step(world)])
    return world.bundle(M1, without=[len(world.leaves) - 1], batches=_batches_of(world, {len(world.leaves) - 1}))


def subject_without_an_entry(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    world.heads[M2] = 0, b"\x00" * 32
    return world.bundle(M1, M2)


def head_left_out(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    _, whole = world.needed([M1])
    return world.bundle(M1, heads_envelope=world.heads_envelope(whole - {subject.organisation("acme")}))


def head_nobody_asked_for(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world), assembled(world, M2)])
    _, whole = world.needed([M1])
    return world.bundle(M1, heads_envelope=world.heads_envelope({*whole, M2}))


def head_before_the_last_entry(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    old = Head(M1, *world.heads[M1])
    world.append("acme", ["acme"], [step(world)])
    _, whole = world.needed([M1])
    heads = [old, *(Head(about, *world.heads[about]) for about in whole - {M1})]
    return world.bundle(M1, heads_envelope=world.heads_envelope([], heads=heads))


def head_of_another_entry(world: World) -> bytes:
    """The right number, but another hash."""
    world.append("acme", ["acme"], [assembled(world)])
    _, whole = world.needed([M1])
    heads = [Head(M1, 0, b"\x01" * 32), *(Head(about, *world.heads[about]) for about in whole - {M1})]
    return world.bundle(M1, heads_envelope=world.heads_envelope([], heads=heads))


def heads_of_another_tree(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    _, whole = world.needed([M1])
    other = Checkpoint(world.origin, len(world.leaves), b"\x00" * 32)
    return world.bundle(M1, heads_envelope=world.heads_envelope(whole, checkpoint=other))


def heads_by_another_key(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    _, whole = world.needed([M1])
    return world.bundle(M1, heads_envelope=world.heads_envelope(whole, key=key_of("stranger")))


def heads_signature_broken(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    return _edit_heads(world.bundle(M1), lambda heads: heads["signatures"][0].update(sig="A" * 86 + "=="))


def heads_unsorted(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    envelope = dsse.sign(
        payload=encode({"v": 1, "log": ORIGIN, "size": 1, "root": "00" * 32, "issued_at": "2026-05-04T06:00:00Z"}),
        payload_type=dsse.HEADS_TYPE,
        keys=[world.receipt_key],
    )
    return world.bundle(M1, heads_envelope=envelope)


def checkpoint_of_another_root(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    return world.bundle(M1, checkpoint=world.note(Checkpoint(world.origin, len(world.leaves), b"\x07" * 32)))


def checkpoint_by_a_stranger(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    text = world.checkpoint().to_text()
    signed = note.sign(text, [note.NoteSigner(world.origin, key_of("stranger"))])
    return world.bundle(M1, checkpoint=signed + world.witness.line(text, time=1))


def checkpoint_signature_broken(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    other = world.signer.line("other text\n")
    text = world.checkpoint().to_text()
    return world.bundle(M1, checkpoint=f"{text}\n{other}{world.witness.line(text, time=1)}")


def checkpoint_of_four_lines(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    text = world.checkpoint().to_text() + "extension\n"
    return world.bundle(M1, checkpoint=note.sign(text, [world.signer]) + world.witness.line(text, time=1))


def checkpoint_of_another_origin(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    return world.bundle(M1, checkpoint=world.note(Checkpoint("log.example.test/other", 1, b"\x00" * 32)))


def checkpoint_no_note(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    return world.bundle(M1, checkpoint="no note")


def checkpoint_without_witness(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    return world.bundle(M1, checkpoint=world.note(witnessed=False))


def bundle_of_another_log(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    return world.bundle(M1, log="log.example.test/other")


def bundle_unsorted(world: World) -> bytes:
    return _edit(meter(world), lambda value: value["entries"].reverse())


def bundle_with_a_member_more(world: World) -> bytes:
    return _edit(meter(world), lambda value: value.update(comment="hello"))


def bundle_not_canonical(world: World) -> bytes:
    return json.dumps(json.loads(meter(world)), indent=1).encode()


def bundle_path_too_long(world: World) -> bytes:
    return _edit(meter(world), lambda value: value["entries"][0]["path"].append("00" * 32))


def bundle_event_path_wrong(world: World) -> bytes:
    return _edit(meter(world), lambda value: value["entries"][0]["event_path"].append("00" * 32))


def bundle_version_two(world: World) -> bytes:
    return _edit(meter(world), lambda value: value.update(format="meterproof-bundle/2"))


def bundle_envelope_of_another_type(world: World) -> bytes:
    return _edit(meter(world), lambda value: value["batches"][0].update(payloadType=dsse.RECEIPT_TYPE))


def bundle_envelope_without_signature(world: World) -> bytes:
    return _edit(meter(world), lambda value: value["batches"][0].update(signatures=[]))


def bundle_envelope_malformed(world: World) -> bytes:
    return _edit(meter(world), lambda value: value["batches"][0].pop("payload"))


def bundle_entry_malformed(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    stored = world.leaves[-1]
    stored.data = encode(json.loads(stored.data) | {"v": 2})
    world.heads[M1] = 0, stored.hash
    leaves = [BundleEntry(i, (), leaf.data, ()) for i, leaf in enumerate(world.leaves)]
    paths = merkle.inclusion_paths(world.hashes, range(len(leaves)))
    shown = [BundleEntry(item.leaf, tuple(path), item.entry, ()) for item, path in zip(leaves, paths, strict=True)]
    shown = shown[-1:]
    return bundle.build(
        log=ORIGIN,
        created=START,
        subjects=[M1],
        checkpoint=world.note(),
        entries=shown,
        batches=[signed.envelope for signed in world.batches.values()],
        heads_envelope=world.heads_envelope([M1]),
    )


def meter(world: World) -> bytes:
    world.append("acme", ["acme"], [assembled(world)])
    return world.bundle(M1)


def _batches_of(world: World, without: set[int]) -> list[bytes]:
    leaves, _ = world.needed([M1])
    return [
        world.batches[batch_id].envelope for batch_id in {world.leaves[index].batch_id for index in leaves - without}
    ]


def _edit(data: bytes, change: Callable[[Any], object]) -> bytes:
    value = json.loads(data)
    change(value)
    return encode(value)


def _edit_heads(data: bytes, change: Callable[[Any], object]) -> bytes:
    return _edit(data, lambda value: change(value["heads"]))
