"""G4: every call of intake, links, keys, evidence and jobs fails in turn, and nothing is lost or half done."""

import io
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from django.conf import settings
from kombu import pools

from compliance.accounts.models import Organisation, Person, SigningKey
from compliance.config.celery import app
from compliance.custody import links
from compliance.custody.models import Link
from compliance.evidence import actions as evidence_actions
from compliance.evidence.intake import IncomingFile
from compliance.evidence.models import Evidence
from compliance.jobs import actions, clock, registry, worker
from compliance.jobs.models import Job, JobState, PeriodicRun
from compliance.ledger import fsck, selectors, setup
from compliance.proof.batch import SignedBatch
from compliance.proof.keys import PrivateKey
from tests.accounts import world as accounts
from tests.custody import world
from tests.faults.sweep import Acknowledged, once, sweep_all
from tests.services.redis import broker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_engines, pytest.mark.timeout(400)]

SPRING = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 31, tzinfo=UTC))
EFFECT = "tests.effect"


@dataclass(slots=True)
class House:
    """A manufacturer on a log, a person of it, and what it was told."""

    maker: world.Party
    alice: Person
    told: Acknowledged
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def born(self) -> tuple[str, dict[str, object]]:
        """A new meter and the event of its birth."""
        number = next(self.numbers)
        return world.title(number), world.born(number)

    def hand_in(self, signed: SignedBatch, mode: str = "atomic") -> None:
        """Send, and note the receipt."""
        self.told.note(self.maker.hand_in(signed.ndjson, mode=mode).appended)  # type: ignore[arg-type]


@pytest.fixture
def house(transactional_db: None, folders: Path) -> House:
    setup.create_log()
    maker = world.join("elster", "manufacturer", "logistics_provider")
    alice = accounts.person("alice", Organisation.objects.get(pk="elster"), "member")
    return House(maker, alice, Acknowledged())


@dataclass(slots=True)
class Proceeding:
    """A batch in mode `proceed` whose second line nobody may send."""

    house: House
    meter: str = field(init=False)
    signed: SignedBatch = field(init=False)
    publishes: bool = False

    def __post_init__(self) -> None:
        self.meter, birth = self.house.born()
        bad = world.event("cell.entered", self.meter)
        bad["schema"] = 999
        self.signed = self.house.maker.sign(birth, bad)

    def run(self) -> None:
        """Hand in."""
        self.house.hand_in(self.signed, "proceed")

    def check(self) -> None:
        """The good line is there once, the bad one is not."""
        assert [entry.seq for entry in selectors.chain(self.meter)] == [0]


@dataclass(slots=True)
class Linking:
    """A packing that reaches two meters: the statement, then an entry on the chain of each."""

    house: House
    meters: list[str] = field(init=False)
    signed: SignedBatch = field(init=False)
    publishes: bool = False

    def __post_init__(self) -> None:
        pairs = [self.house.born(), self.house.born()]
        self.meters = [meter for meter, _ in pairs]
        self.house.hand_in(self.house.maker.sign(*(birth for _, birth in pairs)))
        unit = f"logistic_unit:elster:U-{secrets.token_hex(6)}"
        packed = world.event("delivery.packed", unit, {"children": self.meters, "unit_id": unit})
        self.signed = self.house.maker.sign(packed)

    def run(self) -> None:
        """Hand in, and link."""
        self.house.hand_in(self.signed)
        while links.append_links():
            pass

    def check(self) -> None:
        """One link on each chain, and none to come."""
        assert [len(selectors.chain(meter)) for meter in self.meters] == [2, 2]
        assert not Link.objects.filter(meter__in=self.meters, seq=None).exists()


@dataclass(slots=True)
class KeyChange:
    """A new key of an organisation, signed by itself and by one it has; then its revocation."""

    house: House
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    registered: SignedBatch = field(init=False)
    revoked: SignedBatch = field(init=False)
    publishes: bool = False

    def __post_init__(self) -> None:
        first = self.house.maker.keys[0]
        self.registered = accounts.sign("elster", [accounts.key_event("elster", self.key)], [first, self.key])
        data = {"effective_at": "2026-01-01T00:00:00Z", "reason_code": "superseded", "reason": "rotation"}
        subject = f"signing_key:{self.key.public.keyid}"
        self.revoked = accounts.sign("elster", [accounts.event("org.key_revoked", subject, data)], [first])

    def run(self) -> None:
        """Hand in both."""
        self.house.hand_in(self.registered)
        self.house.hand_in(self.revoked)

    def check(self) -> None:
        """F48: registered once, revoked once, and the row says so."""
        subject = f"signing_key:{self.key.public.keyid}"
        assert [entry.seq for entry in selectors.chain(subject)] == [0, 1]
        assert SigningKey.objects.get(pk=self.key.public.keyid).revoked_at is not None


@dataclass(slots=True)
class Submitting:
    """Evidence with a file: the bytes in the store, the rows, and the platform's own batch about it."""

    house: House
    content: bytes = field(default_factory=lambda: b"ceremony record " + secrets.token_hex(8).encode())
    evidence: Evidence | None = None
    publishes: bool = False

    def run(self) -> None:
        """Submit."""
        self.evidence = evidence_actions.submit_evidence(
            by=self.house.alice,
            organisation=Organisation.objects.get(pk="elster"),
            title="HSM key ceremony record",
            kind="record",
            files=[IncomingFile("record.txt", "text/plain", io.BytesIO(self.content))],
            covers_from=SPRING[0],
            covers_to=SPRING[1],
            produced_at=SPRING[1],
            links=[("requirement", "iso27001-2022:A.8.24")],
        )

    def check(self) -> None:
        """F3: one item, whose file holds the bytes."""
        assert self.evidence is not None
        (file,) = self.evidence.files.all()
        assert Evidence.objects.filter(manifest_sha256=self.evidence.manifest_sha256).count() == 1
        assert file.condition() == "intact"
        assert [entry.seq for entry in selectors.chain(self.evidence.subject)] == [0]


@dataclass(slots=True)
class Working:
    """A job whose effect stands in the database; whoever enqueues it rings a real Redis."""

    house: House
    key: str = field(default_factory=lambda: secrets.token_hex(8))
    publishes: bool = False

    def run(self) -> None:
        """Ask for it, and work; after a fault, when the lease of whoever broke off has run out."""
        actions.enqueue(EFFECT, {"key": self.key}, dedupe_key=self.key)
        for minutes in (0, 10):
            with clock.use(lambda late=minutes: now() + timedelta(minutes=late)):  # type: ignore[misc]
                worker.run_due()

    def check(self) -> None:
        """The effect is there once, and nothing hangs."""
        assert PeriodicRun.objects.filter(name=f"effect {self.key}").count() == 1
        states = set(Job.objects.filter(dedupe_key=self.key).values_list("state", flat=True))
        assert states == {JobState.DONE}, states


def now() -> datetime:
    """The moment, whatever clock is in use."""
    return datetime.now(UTC)


@pytest.fixture
def effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task whose effect is one row."""
    monkeypatch.setattr(registry, "_tasks", dict(registry._tasks))

    @registry.task(EFFECT)
    def leave_a_row(job: registry.JobContext, *, key: str) -> Mapping[str, object]:
        job.progress(0, 1)
        PeriodicRun.objects.get_or_create(name=f"effect {key}", defaults={"due_at": clock.now()})
        return {}


SCENARIOS = {
    "proceed": Proceeding,
    "links": Linking,
    "key change": KeyChange,
    "evidence": Submitting,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whatever_call_fails_nothing_is_lost(scenario: str, house: House) -> None:
    make = SCENARIOS[scenario]
    found = sweep_all(lambda: make(house), once(settings.METERPROOF["LOG_DIR"].parent), house.told)
    assert sum(found.values()) > 20, found
    assert fsck.run().problems == []


@pytest.fixture
def bell(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Redis that is rung, through connections of this test alone."""
    with broker() as server:
        monkeypatch.setattr(settings, "CELERY_BROKER_URL", server.url)
        before, app.conf.broker_url = app.conf.broker_url, server.url
        _forget_connections()
        yield
        app.conf.broker_url = before
        _forget_connections()


def _forget_connections() -> None:
    pools.reset()
    vars(app).pop("amqp", None)


def test_whatever_call_fails_a_job_has_its_effect_once(house: House, effect: None, bell: None) -> None:
    """F32: the broker's network fails too. F45: a lease taken by a clock that was ahead runs out all the same."""
    found = sweep_all(lambda: Working(house), once(settings.METERPROOF["LOG_DIR"].parent), house.told)
    assert found["network fails"] > 0
