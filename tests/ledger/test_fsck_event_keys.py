"""Event keys are added up instead of looked up: the sums must be equal for the same rows, and for no others."""

import random
from itertools import pairwise
from typing import Any

import pytest

from compliance.ledger.fsck.event_keys import KeySum, Total, new_secret

Row = tuple[Any, ...]
SECRET = new_secret()


def total(*portions: list[Row]) -> Total:
    """Of rows that come in these portions."""
    summed = KeySum(SECRET)
    for rows in portions:
        columns = tuple(zip(*rows, strict=True)) or ((), (), (), ())
        summed.expect(*columns)
    return summed.total()


@pytest.fixture
def rows() -> list[Row]:
    numbers = random.Random(20261201)  # noqa: S311
    return [
        (numbers.randbytes(16), numbers.randbytes(32), numbers.randbytes(16), numbers.randrange(100)) for _ in range(50)
    ]


def test_neither_order_nor_portions_matter(rows: list[Row]) -> None:
    shuffled = random.Random(1).sample(rows, len(rows))  # noqa: S311
    assert total(rows).is_of_the_same_keys(total(shuffled[:20], [], shuffled[20:]))
    assert total(rows).is_of_the_same_keys(total(shuffled[:7]) + total(shuffled[7:]))


def test_every_other_row_gives_another_sum(rows: list[Row]) -> None:
    """Fields changed, exchanged between rows or moved to the next column; rows lost, doubled, or lost for a double."""
    whole, first = total(rows), rows[0]
    others = [rows[1:], [*rows, first], [rows[1], *rows[1:]], [rows[1], rows[1], *rows[3:], rows[1]]]
    for column in range(4):
        (mine, theirs) = rows[0], rows[1]
        swapped = (
            (*mine[:column], theirs[column], *mine[column + 1 :]),
            (*theirs[:column], mine[column], *theirs[column + 1 :]),
        )
        others.append([*swapped, *rows[2:]])
    for left, right in pairwise(range(3)):
        shifted = list(first)
        shifted[left], shifted[right] = first[left] + first[right][:1], first[right][1:]
        others.append([tuple(shifted), *rows[1:]])
    others.append([(b"", *first[1:]), *rows[1:]])
    others.append([(*first[:3], -1), *rows[1:]])
    for changed in others:
        assert not whole.is_of_the_same_keys(total(changed))
        assert not whole.is_of_the_same_keys(total([]) + total(changed))


def test_what_cannot_be_compared_equals_nothing() -> None:
    odd: list[Row] = [(b"short", bytes(32), bytes(16), 0)]
    assert not total(odd).is_of_the_same_keys(total(odd))


def test_nobody_without_the_secret_knows_the_sum(rows: list[Row]) -> None:
    other = KeySum(new_secret())
    other.expect(*zip(*rows, strict=True))
    assert not total(rows).is_of_the_same_keys(other.total())
