"""The honest timeline opened for planting: find a fitting meter, change what is said about it, write down why."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from compliance.demo.statements import Statement
from compliance.demo.truth import Planted, Truth
from compliance.demo.world import CellSession, Meter, World


class Garden:
    """Gives out each meter and session once, so that no two plants disturb each other."""

    def __init__(self, world: World, truth: Truth) -> None:
        self.world = world
        self.truth = truth
        self.chance = world.chance("plants")
        self._said: dict[str, list[Statement]] = defaultdict(list)
        for statement in world.timeline.in_order():
            self._said[statement.subject].append(statement)
        self._taken: set[str] = set()
        sampled = (
            one["subject"]
            for statement in world.timeline.statements
            if statement.type == "delivery.inspected"
            for one in statement.data["firmware_sample"]
        )
        self._seen_at_goods_in = frozenset(sampled)

    def said(self, subject: str, *types: str) -> list[Statement]:
        """What is said on this chain, of these types or of all, in order."""
        return [one for one in self._said[subject] if not types or one.type in types]

    def one(self, meter: Meter, code: str) -> Statement:
        """The last statement of that type about `meter`."""
        return self.said(meter.subject, code)[-1]

    def last(self, meter: Meter) -> Statement:
        """The last that is said about `meter`."""
        return self._said[meter.subject][-1]

    def say(self, like: Statement, **changes: Any) -> Statement:
        """Say something further on the chain of `like`, by the same desk unless told otherwise."""
        desk = changes.pop("desk", like.desk)
        at = changes.pop("at", like.at + timedelta(days=1))
        subject = changes.pop("subject", like.subject)
        statement = self.world.say(
            at, desk, changes.pop("type", like.type), subject, changes.pop("data", dict(like.data)), **changes
        )
        self.note(statement)
        return statement

    def note(self, statement: Statement) -> None:
        """Take a statement that somebody else said into account."""
        self._said[statement.subject].append(statement)
        self._said[statement.subject].sort(key=lambda one: one.leaves_at)

    def drop(self, statement: Statement) -> None:
        """Leave `statement` unsaid."""
        self.world.timeline.drop(statement)
        self._said[statement.subject].remove(statement)

    def meter(self, fits: Callable[[Meter], bool]) -> Meter | None:
        """A meter nobody has taken yet that fits."""
        free = [meter for meter in self.world.meters if meter.subject not in self._taken and fits(meter)]
        if not free:
            return None
        chosen = self.chance.choice(free)
        self._taken.add(chosen.subject)
        return chosen

    def is_unopened(self, meter: Meter) -> bool:
        """True if goods-in did not look at this meter's seals and image."""
        return meter.subject not in self._seen_at_goods_in

    def session(self, fits: Callable[[CellSession], bool]) -> CellSession | None:
        """A session nobody has taken yet that fits."""
        free = [one for one in self.world.sessions if one.subject not in self._taken and fits(one)]
        if not free:
            return None
        chosen = self.chance.choice(free)
        self._taken.add(chosen.subject)
        return chosen

    def take(self, subject: str) -> bool:
        """Claim any other chain. False if it is taken."""
        if subject in self._taken:
            return False
        self._taken.add(subject)
        return True

    def plant(self, detector: str, story: str, subject: str, meters: Iterable[str] = ()) -> bool:
        """Write down an anomaly."""
        self.truth.plants.append(Planted(detector, story, subject, tuple(meters)))
        return True

    def decoy(self, detector: str, story: str, subject: str, meters: Iterable[str] = ()) -> bool:
        """Write down something legitimate that looks like an anomaly."""
        self.truth.decoys.append(Planted(detector, story, subject, tuple(meters)))
        return True


def operates(meter: Meter) -> bool:
    """On a wall, and nothing special happens to it."""
    return meter.commissioned_at is not None and not meter.fate and meter.passes == 1


def in_stock(meter: Meter) -> bool:
    """Accepted, and never installed."""
    return meter.in_stock_at is not None and meter.commissioned_at is None


def of_fate(fate: str) -> Callable[[Meter], bool]:
    """Meters with that fate."""
    return lambda meter: meter.fate == fate and meter.passes == 1
