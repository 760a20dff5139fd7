"""One run of the simulation: the same parameters, number of meters and seed give the same statements for ever."""

from collections.abc import Sequence
from dataclasses import dataclass

from compliance.demo import delivery, factory, field
from compliance.demo.decoys import grow_all
from compliance.demo.documents import documents
from compliance.demo.garden import Garden
from compliance.demo.papers import Paper
from compliance.demo.parameters import Parameters
from compliance.demo.plants import plant_all
from compliance.demo.statements import Statement
from compliance.demo.truth import Truth
from compliance.demo.world import World


@dataclass(frozen=True, slots=True)
class Scenario:
    """What will be said and shown, in order; and what is hidden in it."""

    meters: int
    seed: int
    statements: Sequence[Statement]
    papers: Sequence[Paper]
    truth: Truth
    world: World


def honest(parameters: Parameters, *, meters: int, seed: int) -> World:
    """Factory and field without anything planted."""
    world = World.create(parameters, seed)
    factory.design(world)
    factory.produce(world, meters)
    delivery.deliver(world)
    field.operate(world)
    return world


def generate(parameters: Parameters, *, meters: int, seed: int) -> Scenario:
    """Factory and field with anomalies and decoys."""
    if meters < parameters.plants.smallest_run:
        raise ValueError(f"at least {parameters.plants.smallest_run} meters, or the plants crowd out the honest ones")
    world = honest(parameters, meters=meters, seed=seed)
    truth = Truth(seed, meters)
    garden = Garden(world, truth)
    plant_all(garden)
    grow_all(garden)
    papers = [*world.papers, *documents(parameters, seed=seed)]
    return Scenario(meters, seed, world.timeline.in_order(), papers, truth, world)
