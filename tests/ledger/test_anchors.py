"""Time stamps over checkpoints: from a real authority over HTTP, refused when wrong, waited for when away."""

import logging
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from compliance.jobs import clock, failpoints
from compliance.ledger import anchors, guards, integrate, proofs, publish, selectors, tasks, tiles
from compliance.ledger.drill.trial import take_down_guards
from compliance.ledger.models import Anchoring, Checkpoint, TimeToken
from compliance.proof import bundle
from compliance.proof.verify import verify_file
from compliance.reports.authority.certificates import TIME_STAMP_LIFE
from tests.ledger.test_commands import run
from tests.ledger.world import Factory, found, meter, stamp_all
from tests.services.time_stamps import Desk, time_stamp_authority

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


@pytest.fixture
def desk(settings: Any, tmp_path: Path) -> Iterator[Desk]:
    """An authority that the settings name."""
    with time_stamp_authority(tmp_path / "outside") as desk:
        entry = {"url": desk.address, "root": str(desk.root), "timeout": 20}
        settings.METERPROOF = {**settings.METERPROOF, "TIME_STAMP_AUTHORITIES": [entry]}
        yield desk


def publish_one(factory: Factory) -> str:
    """One more event under a checkpoint; its note."""
    factory.send([factory.event(meter(1))])
    integrate.integrate()
    publish.publish()
    latest = selectors.latest_checkpoint()
    assert latest is not None
    return latest.note


def test_each_checkpoint_is_stamped(factory: Factory, desk: Desk, tmp_path: Path) -> None:
    """openssl accepts the token, bundles carry it, the verifier says the time, outsiders find it beside the log."""
    factory.register()
    notes = [publish_one(factory) for _ in range(2)]
    stamp_all()
    assert [row.note for row in TimeToken.objects.order_by("number")] == notes
    tasks.anchor()
    assert desk.asked == len(notes)  # nothing new, nothing asked
    served = {name: Client().get(f"/log/{name}") for name in (anchors.ANCHORED, anchors.STAMP)}
    assert served[anchors.STAMP]["Content-Type"] == "application/timestamp-reply"
    for name, answer in served.items():
        (tmp_path / name).write_bytes(answer.content)
    command = ["openssl", "ts", "-verify", "-data", tmp_path / anchors.ANCHORED, "-in", tmp_path / anchors.STAMP]
    root = settings.METERPROOF["TRUST_DIR"] / "tsa-root.crt"
    done = subprocess.run([*command, "-CAfile", root], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "meter.proof").write_bytes(proof := proofs.proof_bundle([meter(1)]))
    assert bundle.read(proof).time_tokens == (bytes(TimeToken.objects.get(number=2).token),)
    verdict = verify_file(tmp_path / "meter.proof", settings.METERPROOF["TRUST_DIR"])
    assert verdict.error is None
    assert len(verdict.facts["times"]) == 1
    standing = anchors.standing()
    assert (standing.note, standing.pending_since, standing.size) == (notes[-1], None, 7)
    assert found() == []


def published() -> list[str]:
    """Every checkpoint, oldest first."""
    return list(Checkpoint.objects.order_by("size").values_list("note", flat=True))


def stamped() -> list[str]:
    """What the tokens are over, in their order."""
    return list(TimeToken.objects.order_by("number").values_list("note", flat=True))


def test_checkpoints_that_come_faster_than_rounds_are_all_stamped(
    factory: Factory, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oldest first, one in a round that has no time for more; of two stampers at once one stores."""
    for _ in range(4):
        publish_one(factory)
    monkeypatch.setattr(anchors, "ROUND_SECONDS", 0)
    tasks.anchor()
    assert (stamped(), anchors.standing().waiting) == (published()[:1], 3)
    others = iter([anchors.anchor])
    with failpoints.arm("ledger.anchors.stamped", lambda: [other() for other in others]):
        tasks.anchor()
    assert stamped() == published()[:2]
    monkeypatch.undo()
    stamp_all()
    assert stamped() == published()
    assert desk.asked == 5
    assert found() == []


def test_a_checkpoint_that_was_left_out_is_found(factory: Factory, desk: Desk) -> None:
    """Also by who takes its token away, closes the gap in the numbers and mends the count."""
    for _ in range(3):
        publish_one(factory)
    stamp_all()
    assert found() == []
    size = TimeToken.objects.get(number=2).size
    take_down_guards()
    TimeToken.objects.filter(number=2).delete()
    TimeToken.objects.filter(number=3).update(number=2)
    Anchoring.objects.update(tokens=2)
    guards.install()
    assert [(problem.code, problem.place) for problem in found()] == [("time_token.none", f"checkpoint {size}")]


def test_a_wrong_token_is_refused(factory: Factory, desk: Desk) -> None:
    """F40: another nonce, other data, no token, a clock that is off, an expired certificate: nothing of it is kept."""
    publish_one(factory)
    wrong = {
        "nonce": desk.wrong_nonce,
        "stamped other data": desk.other_digest,
        "503": lambda _request: None,
        "something unreadable": lambda _request: b"\x30\x03\x02\x01\x00",
        "the authority says": lambda request: desk.right(request, late=timedelta(hours=1)),
        "no way from the signer": lambda request: desk.right(request, late=2 * TIME_STAMP_LIFE),  # expired by then
    }
    later = clock.now()
    for word, answer in wrong.items():
        desk.answer = answer
        later += timedelta(minutes=10)
        with clock.use(lambda moment=later: moment):  # type: ignore[misc]
            tasks.anchor()
            assert word in anchors.standing().failure
        assert not TimeToken.objects.exists()
    desk.answer = None
    with clock.use(lambda: later + timedelta(minutes=10)):
        tasks.anchor()
        assert anchors.standing().note == selectors.latest_checkpoint().note  # type: ignore[union-attr]
    assert found() == []


def test_while_the_authority_is_away_the_anchor_is_pending(
    factory: Factory, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """F40: events go on, it is asked again more and more rarely, and after an hour there is an alarm, once an hour."""
    desk.answer = lambda _request: None
    started = clock.now()
    minutes = 0
    with caplog.at_level(logging.WARNING, logger="compliance.ledger.anchors"):
        for minutes in range(0, 125, 5):
            with clock.use(lambda moment=started + timedelta(minutes=minutes): moment):  # type: ignore[misc]
                if minutes % 60 == 0:
                    publish_one(factory)
                tasks.anchor()
                tasks.anchor()
                if minutes in (0, 55, 60):
                    standing = anchors.standing()
                    assert standing.pending_since == started
                    assert standing.is_alarm == (minutes >= 60)
                    assert standing.waiting == len(published()) == 1 + (minutes >= 60)
    assert desk.asked == 25  # of fifty ticks: a pause of five minutes at most, and never two requests in one
    assert [record.levelname for record in caplog.records].count("ERROR") == 2
    assert "anchor pending       since" in run("ledger", "status")
    desk.answer = None
    with clock.use(lambda: started + timedelta(minutes=minutes + 10)):
        stamp_all()
        standing = anchors.standing()
    assert (standing.pending_since, standing.is_alarm, standing.failure) == (None, False, "")
    assert stamped() == published() != []
    assert Anchoring.objects.get().tokens == len(stamped())
    assert (standing.waiting, found()) == (0, [])


def test_without_an_authority_nothing_is_pending(factory: Factory, settings: Any) -> None:
    settings.METERPROOF = {**settings.METERPROOF, "ALLOW_DEVELOPMENT_AUTHORITY": False}
    publish_one(factory)
    tasks.anchor()
    assert anchors.standing().pending_since is None
    assert not (tiles.folder() / anchors.STAMP).exists()
    assert found() == []


def test_the_development_authority_stamps_by_default(factory: Factory) -> None:
    """And fsck misses a token that is edited, removed or moved, and the files beside the checkpoint."""
    publish_one(factory)
    tasks.anchor()
    assert found() == []
    assert anchors.standing().note == selectors.latest_checkpoint().note  # type: ignore[union-attr]
    (tiles.folder() / anchors.STAMP).write_bytes(b"x")
    assert [(problem.code, problem.place) for problem in found()] == [("time_token.file", anchors.STAMP)]
    tasks.anchor()
    assert found() == []
