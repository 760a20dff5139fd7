"""G4, both sides of a cosignature: every call of the publisher that collects it fails in turn, also the witness's own
answer; and every call of the witness, which stores before it answers and looks and stores as one step.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from compliance.ledger import integrate, publish, selectors, signer, tiles, witnesses
from compliance.proof import note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.note import NoteVerifier
from compliance.witness import evidence, home, store
from compliance.witness.cosign import Answer, Witness
from tests.faults import files, outside
from tests.faults.bench import Bench
from tests.faults.counting import Countdown
from tests.faults.sweep import AN_HOUR_BACK, TEN_YEARS_AHEAD, Fault, sweep_all
from tests.services.lying_witness import Answer as HttpAnswer
from tests.services.lying_witness import LyingWitness, lying_witness, says
from tests.witness.logs import AnyLog

NAME = "witness.example.test/w"


# --- the publisher ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Neighbour:
    """A good witness behind loopback HTTP whose n-th call is spoilt while a fault is on."""

    folder: Path
    http: LyingWitness
    spoil: Callable[[BaseHTTPRequestHandler, bytes], bool] | None = None

    @property
    def witness(self) -> Witness:
        """The witness, as opened from its folder again."""
        return Witness(home.load_signer(self.folder), home.load_store(self.folder), self.folder / home.EVIDENCE)

    @property
    def verifier(self) -> NoteVerifier:
        """Its key."""
        return home.load_signer(self.folder).verifier

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """What it answers."""
        if self.spoil is None or not self.spoil(handler, body):
            self.tell(handler, body)

    def tell(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        """Answer well."""
        told = self.witness.add_checkpoint(body)
        says(told.status, told.body, Content_Type=told.content_type)(handler, body)


@pytest.fixture
def neighbour(committed_log: Path, folders: Path, settings: Any) -> Iterator[Neighbour]:
    """The one witness of the operator's policy; without its cosignature nothing is shown."""
    folder = folders / "witness_dir"
    home.make(folder, NAME)
    home.add_log(folder, (folders / "trust_dir" / "log.vkey").read_text().strip())
    with lying_witness(says(500)) as http:
        neighbour = Neighbour(folder, http)
        http.answer = neighbour.answer
        policy = folders / "witness.policy"
        policy.write_text(f"witness w {neighbour.verifier.vkey} {http.url}\nquorum w\n")
        settings.METERPROOF = {
            **settings.METERPROOF,
            "WITNESS_POLICY": policy,
            "WITNESS_FAIL_CLOSED": True,
            "WITNESS_TIMEOUT_SECONDS": 5,
        }
        yield neighbour


@dataclass(slots=True)
class Cosigning:
    """Integrated entries wait to be signed, cosigned and shown."""

    bench: Bench
    neighbour: Neighbour
    publishes: bool = True

    def __post_init__(self) -> None:
        self.bench.send(self.bench.sign(self.bench.new_meter(), self.bench.new_meter()))
        integrate.integrate()

    def run(self) -> None:
        """Publish, asking the witness again even if it failed a moment ago."""
        self.require()
        publish.publish(hurry=True)

    def check(self) -> None:
        """All of it is shown."""
        self.require()
        shown = tiles.read_checkpoint()
        assert shown is not None
        assert Checkpoint.from_text(note.split(shown)[0]).size == selectors.log_size()

    def require(self) -> None:
        """Whatever is shown was cosigned before; nobody is ahead of the signer; nothing was taken for a fork."""
        shown, last = tiles.read_checkpoint(), signer.last_signed()
        if shown is not None:
            assert note.open_note(shown, [self.neighbour.verifier]).verified, "shown without its cosignature"
        theirs = home.load_store(self.neighbour.folder).cosigned(settings.METERPROOF["ORIGIN"])
        if theirs is not None:
            assert last is not None
            assert (theirs.size, theirs.root) <= (last.checkpoint.size, last.checkpoint.root)
            assert theirs.size < last.checkpoint.size or theirs.root == last.checkpoint.root
        assert witnesses.alarm() is None
        assert evidence.count(self.neighbour.folder / home.EVIDENCE) == {evidence.FORK: 0, evidence.UNPROVEN: 0}


def hangs_up(_neighbour: Neighbour) -> HttpAnswer:
    """The request never gets through."""
    return lambda handler, _body: handler.connection.close()


def answer_is_lost(neighbour: Neighbour) -> HttpAnswer:
    """It cosigns, stores, and nobody hears of it."""

    def lose(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        neighbour.witness.add_checkpoint(body)
        handler.connection.close()

    return lose


def half_an_answer(neighbour: Neighbour) -> HttpAnswer:
    """It breaks off in the middle of its line."""

    def break_off(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        told = neighbour.witness.add_checkpoint(body)
        handler.send_response(told.status)
        handler.send_header("Content-Length", str(len(told.body)))
        handler.end_headers()
        handler.wfile.write(told.body[: len(told.body) // 2])

    return break_off


def is_ill(_neighbour: Neighbour) -> HttpAnswer:
    """Its store is busy."""
    return says(503, b"not now\n")


def answers(neighbour: Neighbour, how: Callable[[Neighbour], HttpAnswer]) -> Fault:
    """The n-th request to the witness is answered so."""

    @contextmanager
    def fault(countdown: Countdown) -> Iterator[None]:
        def spoil(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
            if not countdown.strikes(how.__name__):
                return False
            handler.close_connection = True
            how(neighbour)(handler, body)
            return True

        neighbour.spoil = spoil
        try:
            yield
        finally:
            neighbour.spoil = None

    return fault


@pytest.mark.django_db(transaction=True)
@pytest.mark.both_engines
@pytest.mark.timeout(400)
def test_whatever_call_fails_nothing_is_shown_without_the_witness(bench: Bench, neighbour: Neighbour) -> None:
    kinds: dict[str, Fault] = {
        "file fails": lambda countdown: files.files_fail(countdown, settings.METERPROOF["SIGNER_DIR"]),
        "network fails": outside.network_fails,
        "clock back": lambda countdown: outside.clock_jumps(countdown, AN_HOUR_BACK),
        "clock ahead": lambda countdown: outside.clock_jumps(countdown, TEN_YEARS_AHEAD),
        **{how.__name__: answers(neighbour, how) for how in (hangs_up, answer_is_lost, half_an_answer, is_ill)},
    }
    found = sweep_all(lambda: Cosigning(bench, neighbour), kinds, bench.told)
    assert min(found.values()) > 0, found


# --- the witness -----------------------------------------------------------------------------------------------------


@contextmanager
def store_fails(countdown: Countdown, *, after: bool) -> Iterator[None]:
    """Opening the store or one of its statements, COMMIT included, fails: before it was done, or after."""

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            strikes = countdown.strikes(sql.split(maxsplit=1)[0])
            if strikes and not after:
                raise sqlite3.OperationalError("disk I/O error")
            cursor = super().execute(sql, *parameters)
            if strikes:
                cursor.close()  # the lock of a statement that was not read to its end would outlive the connection
                raise sqlite3.OperationalError("disk I/O error")
            return cursor

    connect = sqlite3.connect

    def failing(*args: Any, **options: Any) -> sqlite3.Connection:
        if countdown.strikes("open"):
            raise sqlite3.OperationalError("unable to open database file")
        return connect(*args, **options, factory=Failing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.sqlite3, "connect", failing)
        yield


WITNESS_KINDS: dict[str, Callable[[Countdown, Path], AbstractContextManager[None]]] = {
    "statement fails": lambda countdown, _folder: store_fails(countdown, after=False),
    "answer is lost": lambda countdown, _folder: store_fails(countdown, after=True),
    "file fails": files.files_fail,
}


def opened(folder: Path) -> Witness:
    """The witness, as after a restart."""
    return Witness(home.load_signer(folder), home.load_store(folder), folder / home.EVIDENCE)


def remembered(folder: Path) -> tuple[int, bytes] | None:
    """Size and root that it cosigned last."""
    last = home.load_store(folder).cosigned(AnyLog().signer.name)
    return None if last is None else (last.size, last.root)


def whole_evidence(folder: Path) -> int:
    """How many refusals are kept, each with all its files; drafts are gone."""
    kept = [case for kind in (folder / home.EVIDENCE).glob("*") for case in kind.iterdir()]
    for case in kept:
        assert not case.name.startswith("."), "a draft was left behind"
        assert {path.name for path in case.iterdir()} == {"request", "why.json", evidence.REFUSED, evidence.COSIGNED}
        assert all(path.stat().st_size for path in case.iterdir())
    return len(kept)


def sweep_witness(folder: Path, kind: str, prepare: Callable[[], bytes], check: Callable[[Answer | None], None]) -> int:
    """Let every call fail in turn while the witness answers what `prepare` gives; `check` is told the answer, if one
    left. Returns how many calls there were.
    """
    for number in count(1):
        countdown, request = Countdown(number), prepare()
        answer = None
        with WITNESS_KINDS[kind](countdown, folder), suppress(OSError, sqlite3.Error, home.HomeError):
            answer = opened(folder).add_checkpoint(request)
        check(answer)
        if not countdown.failed:
            return countdown.calls
    raise AssertionError


@pytest.mark.parametrize("kind", WITNESS_KINDS)
def test_whatever_call_fails_the_witness_remembers_what_it_answered(kind: str, folder: Path) -> None:
    log = AnyLog(3)
    assert opened(folder).add_checkpoint(log.request(0)).status == 200

    def prepare() -> bytes:
        log.grow(1)
        return log.request(len(log.entries) - 1)

    def check(answer: Answer | None) -> None:
        old, new = len(log.entries) - 1, len(log.entries)
        stands = remembered(folder)
        assert stands in {(size, log.checkpoint(size).root) for size in (old, new)}, "neither the old nor the new"
        if answer is not None and answer.status == 200:
            assert stands is not None
            assert stands[0] == new, "it answered before it remembered"
        assert stands is not None
        assert opened(folder).add_checkpoint(log.request(stands[0])).status == 200
        assert remembered(folder) == (new, log.checkpoint().root)

    assert sweep_witness(folder, kind, prepare, check) > 3
    assert whole_evidence(folder) == 0


@pytest.mark.parametrize("kind", WITNESS_KINDS)
def test_whatever_call_fails_the_witness_never_signs_a_fork(kind: str, folder: Path) -> None:
    """Its evidence is whole or absent, and asked again it is there."""
    log = AnyLog(3)
    refused = 0

    def fork() -> bytes:
        size = len(log.entries)
        return AnyLog(size, forked_at=size - 1).request(size)

    def prepare() -> bytes:
        log.grow(1)
        before = remembered(folder)
        assert opened(folder).add_checkpoint(log.request(before[0] if before else 0)).status == 200
        return fork()

    def check(answer: Answer | None) -> None:
        nonlocal refused
        refused += 1
        assert answer is None or answer.status != 200, "it signed two histories"
        assert remembered(folder) == (len(log.entries), log.checkpoint().root)
        assert whole_evidence(folder) in (refused - 1, refused)
        assert opened(folder).add_checkpoint(fork()).status == 422
        assert whole_evidence(folder) == refused

    assert sweep_witness(folder, kind, prepare, check) > 3


@pytest.mark.parametrize("name", ["make", "add a log"])
def test_whatever_file_fails_a_home_is_whole_or_can_be_made_again(name: str, tmp_path: Path) -> None:
    for number in count(1):
        countdown, folder = Countdown(number), tmp_path / f"{number}"
        if name != "make":
            home.make(folder, NAME)
        with files.files_fail(countdown, tmp_path), suppress(OSError):
            if name == "make":
                home.make(folder, NAME)
            else:
                home.add_log(folder, AnyLog().signer.vkey)
        if name == "make" and countdown.failed and not home.is_made(folder):
            home.make(folder, NAME)
        home.add_log(folder, AnyLog().signer.vkey)
        assert opened(folder).add_checkpoint(AnyLog(2).request(0)).status == 200
        if not countdown.failed:
            break
