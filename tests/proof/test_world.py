"""A world made here verifies, as bundle and as log folder, before tests break it."""

from compliance.proof.verify import verify_file
from tests.proof.world import METER


def test_a_new_world_verifies_as_bundle_and_log(world, tmp_path):
    trust = world.write_trust(tmp_path / "trust")
    world.append("acme", ["acme"], [world.event(METER.format(n), "mfg.assembled") for n in range(3)])
    file = tmp_path / "meter.proof"
    file.write_bytes(world.bundle(METER.format(1)))
    for path in (file, world.write_log(tmp_path / "log")):
        verdict = verify_file(path, trust)
        assert verdict.error is None, verdict.error
        assert not verdict.notes
