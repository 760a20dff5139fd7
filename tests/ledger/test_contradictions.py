"""Integrator, publisher and signer stop at rows and files that contradict each other, say where, and leave the log as
it was. What fsck finds afterwards is in `test_tamper`.
"""

import json
from typing import Any

import pytest
from django.conf import settings

from compliance.ledger import integrate, publish, signer, tiles
from compliance.ledger.drill.trial import take_down_guards
from compliance.ledger.errors import Damaged, StateRefused
from compliance.ledger.models import Entry, LeafRange, LogState
from compliance.proof import layout, merkle
from compliance.proof.canonical import encode
from compliance.proof.subject import key_of
from tests.ledger.world import Factory, meter

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]

OTHER = b"\x5a" * 32


@pytest.fixture
def unguarded(factory: Factory) -> Factory:
    """A log whose first batch is integrated, and whose rows can be changed."""
    integrate.integrate()
    take_down_guards()
    return factory


def edit(number: int, seq: int, **columns: Any) -> str:
    """Change columns of an entry of a meter; how damage names the entry."""
    key = key_of(meter(number))
    assert Entry.objects.filter(subject=key, seq=seq).update(**columns) == 1
    return f"entry {key.hex()}/{seq} "


def follow(number: int, seq: int, prev: bytes | None) -> str:
    """Let an entry follow `prev`, with bytes that say so and the hash of those: wrong for its chain alone."""
    entry = Entry.objects.get(subject=key_of(meter(number)), seq=seq)
    body = encode(json.loads(entry.body) | {"prev": None if prev is None else prev.hex()})
    return edit(number, seq, prev=prev, body=body, hash=merkle.leaf_hash(body))


def stops_at(place: str) -> None:
    """The integrator stops there, and nothing that waits is integrated."""
    before = LogState.objects.values().get(), LeafRange.objects.count()
    with pytest.raises(Damaged) as damage:
        integrate.integrate()
    assert damage.value.place.startswith(place)
    assert (LogState.objects.values().get(), LeafRange.objects.count()) == before


def test_a_hash_that_is_not_that_of_the_bytes(unguarded: Factory) -> None:
    unguarded.send([unguarded.event(meter(1))])
    stops_at(edit(1, 0, hash=OTHER))


@pytest.mark.parametrize("column", ["prev", "index"])
def test_a_column_that_is_not_what_the_bytes_say(unguarded: Factory, column: str) -> None:
    unguarded.send([unguarded.event(meter(1))])
    stops_at(edit(1, 0, **{column: {"prev": OTHER, "index": 3}[column]}).split("/")[0])


def test_a_first_entry_that_follows_something(unguarded: Factory) -> None:
    unguarded.send([unguarded.event(meter(1))])
    stops_at(follow(1, 0, OTHER))


@pytest.mark.parametrize("prev", [OTHER, None])
@pytest.mark.parametrize("where", ["same batch", "same round", "round before"])
def test_an_entry_that_follows_another(unguarded: Factory, where: str, prev: bytes | None) -> None:
    if where == "same batch":
        unguarded.send([unguarded.event(meter(1)), unguarded.event(meter(1))])
    else:
        unguarded.send([unguarded.event(meter(1))])
        if where == "round before":
            assert integrate.integrate() == 1
        unguarded.send([unguarded.event(meter(1))])
    stops_at(follow(1, 1, prev))


def test_an_entry_whose_predecessor_is_gone(unguarded: Factory) -> None:
    for _ in range(2):
        unguarded.send([unguarded.event(meter(1))])
        integrate.integrate()
    unguarded.send([unguarded.event(meter(1))])
    Entry.objects.filter(subject=key_of(meter(1)), seq=1).delete()
    stops_at(f"entry {key_of(meter(1)).hex()}/2 ")


@pytest.mark.parametrize("column", ["size", "root", "right_edge"])
def test_a_state_that_is_not_of_one_tree(unguarded: Factory, column: str) -> None:
    unguarded.send([unguarded.event(meter(1))])
    edge = merkle.RightEdge()
    for _ in range(3):
        edge.append(OTHER)
    assert LogState.objects.get().size == 3
    LogState.objects.update(**{column: {"size": 4, "root": OTHER, "right_edge": edge.to_bytes()}[column]})
    stops_at("log_state")


def test_an_entry_that_is_gone_stops_the_tiles_at_its_place(unguarded: Factory) -> None:
    """In the middle, where the next batch begins too early, and at the end, where nothing is left to notice it."""
    for _ in range(2):
        unguarded.send([unguarded.event(meter(1)), unguarded.event(meter(2))])
    integrate.integrate()
    for number, seq, place in ((2, 1, "leaf 6"), (2, 0, "leaf 4")):
        Entry.objects.filter(subject=key_of(meter(number)), seq=seq).delete()
        with pytest.raises(Damaged) as damage:
            tiles.extend(0, 7)
        assert damage.value.place == place
    assert not (tiles.folder() / layout.tile_path(0, 0, 7)).exists()


def test_tiles_that_are_no_tree(factory: Factory) -> None:
    integrate.integrate()
    publish.publish()
    path = tiles.folder() / layout.tile_path(0, 0, 3)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Damaged):
        tiles.root(3)


def test_a_memory_of_the_signer_that_is_no_json(factory: Factory) -> None:
    integrate.integrate()
    publish.publish()
    path = settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StateRefused, match=f"{path} cannot be read"):
        signer.last_signed()


def test_a_memory_of_the_signer_whose_right_edge_is_of_another_tree(factory: Factory) -> None:
    """The edge is whole, and as large as the tree that was signed."""
    integrate.integrate()
    publish.publish()
    path = settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY
    memory = json.loads(path.read_bytes())
    edge = merkle.RightEdge()
    for _ in range(memory["size"]):
        edge.append(OTHER)
    path.write_text(json.dumps(memory | {"right_edge": edge.to_bytes().hex()}))
    with pytest.raises(StateRefused, match="contradicts itself"):
        signer.last_signed()
