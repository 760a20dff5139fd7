"""The monitor: follows logs over HTTP and in folders, finds what an operator does to history, keeps the evidence."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compliance.proof import layout, merkle, note
from compliance.proof.__main__ import main
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.monitor import memory
from compliance.proof.monitor.sources import HttpSource
from compliance.proof.monitor.tree import PIECE, Tree, Walk
from tests.proof.vectors import METERPROOF
from tests.proof.world import World
from tests.services.lying_witness import Answer, drips, floods, lying_witness, says
from tests.witness.logs import AnyLog, key_of, witness_signer

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_800_000_000


class Followed:
    """A log in a folder, a policy for it, and the monitor that follows it. `write` shows a log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "log"
        self.state = folder / "state"
        self.policy = folder / "policy"
        self.trust()

    def trust(self, *lines: str, quorum: str = "none") -> None:
        text = [f"log {AnyLog().signer.vkey}", *lines, f"quorum {quorum}"]
        self.policy.write_text("".join(f"{line}\n" for line in text))

    def show(self, log: AnyLog, *, cosigned_at: int | None = None) -> "Followed":
        signed = log.note()
        if cosigned_at is not None:
            signed += witness_signer().line(log.checkpoint().to_text(), time=cosigned_at)
        log.write(self.folder, signed=signed)
        return self

    def run(self, *more: object, source: object = None, now: int = NOW) -> dict[str, Any]:
        """One run, as JSON."""
        out = io.StringIO()
        words = ["monitor", source or self.folder, "--policy", self.policy, "--state", self.state, "--json", *more]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.time", lambda: float(now))
            status = main([str(word) for word in words], out)
        value: dict[str, Any] = json.loads(out.getvalue())
        assert value["exit"] == status
        assert value["verdict"] == ("ok", "bad", "unchecked")[status]
        return value

    def codes(self, *more: object, **options: Any) -> list[str]:
        return [finding["code"] for finding in self.run(*more, **options)["findings"]]


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    return Followed(tmp_path)


def evidence_of(value: dict[str, Any]) -> dict[str, str]:
    """The files kept for the one finding of a run."""
    (finding,) = value["findings"]
    return {path.name: path.read_text() for path in Path(finding["evidence"]).iterdir()}


def test_it_follows_a_log_that_grows_and_reads_only_what_is_new(followed: Followed) -> None:
    log, tiles = AnyLog(), []
    for size in (0, 1, 3, 255, 256, 257, 600, 2_000):
        log.grow(size - len(log.entries))
        value = followed.show(log).run()
        assert value["findings"] == [], value
        assert value["checkpoint"]["size"] == size
        tiles.append(value["tiles"])
    assert tiles == [0, 1, 1, 1, 2, 1, 3, 6 + 1]
    assert followed.run()["tiles"] == 0
    assert followed.run("--full")["tiles"] == sum(1 for _ in layout.tiles_of(2_000))
    assert followed.run("--full", "--entries", followed.folder)["entries"] == 2_000


def test_two_forks_made_by_hand_are_found_in_one_run(followed: Followed) -> None:
    """T8, T17: same size with another root, a larger log that does not continue, in the newest tile and long before."""
    for number, (size, forked_at, other) in enumerate(
        [(10, 5, 10), (10, 5, 30), (300, 280, 400), (600, 5, 900), (600, 5, 601), (256, 3, 512), (257, 256, 300)]
    ):
        followed.state = followed.state.with_name(f"state-{number}")
        log, fork = AnyLog(size), AnyLog(other, forked_at=forked_at)
        assert followed.show(log).codes() == []
        for more in ([], ["--full"]):
            value = followed.show(fork).run(*more)
            assert [finding["code"] for finding in value["findings"]] == ["monitor.split_view"], (size, value)
        kept = evidence_of(value)
        assert kept["kept-checkpoint"] == log.note()
        assert kept["shown-checkpoint"] == fork.note()
        verifier = log.signer.verifier
        two = [note.open_note(kept[name], [verifier]).text for name in ("kept-checkpoint", "shown-checkpoint")]
        assert [Checkpoint.from_text(text).size for text in two] == [size, other]
        assert json.loads(kept["finding.json"])["code"] == "monitor.split_view"
        assert len(list((followed.state / memory.EVIDENCE).iterdir())) == 1  # the same is kept once
        assert followed.show(log.grow(1)).codes() == []  # and the history that was kept is still followed
        for path in sorted(followed.folder.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()


def test_a_log_that_goes_back(followed: Followed) -> None:
    """An older state is stale or restored; another history of a smaller size is a split view."""
    assert followed.show(AnyLog(300)).codes() == []
    value = followed.show(AnyLog(200)).run()
    assert [finding["code"] for finding in value["findings"]] == ["monitor.rollback"]
    assert "true, but old" in value["findings"][0]["detail"]
    assert evidence_of(value)["kept-checkpoint"] == AnyLog(300).note()
    assert followed.show(AnyLog(290)).run()["findings"][0]["detail"].endswith("true, but old")  # by what was kept alone
    (followed.folder / "checkpoint").write_text(AnyLog(290, forked_at=280).note())
    assert followed.codes() == ["monitor.split_view"]
    (followed.folder / "checkpoint").write_text(AnyLog(200, forked_at=5).note())
    assert followed.codes() == ["monitor.split_view"]
    for path in (followed.folder / "tile/0").rglob("*"):
        path.unlink() if path.is_file() else None
    AnyLog(200).write(followed.folder)
    assert followed.codes() == ["monitor.rollback"]
    assert followed.show(AnyLog(300)).codes() == []


def test_what_others_hold_is_compared(followed: Followed, tmp_path: Path) -> None:
    """Gossip: checkpoints from reports, proofs and colleagues."""
    log = AnyLog(500)
    followed.show(log)
    for name, text, codes in (
        ("older", log.note(123), []),
        ("same", log.note(), []),
        ("fork", AnyLog(400, forked_at=399).note(), ["monitor.split_view"]),
        ("root", AnyLog(500, forked_at=399).note(), ["monitor.split_view"]),
        ("newer", AnyLog(501).note(), ["monitor.rollback"]),
        ("other log", AnyLog(3, origin="log.example.test/x").note(), ["note.unknown_key"]),
    ):
        path = tmp_path / "seen"
        path.write_text(text)
        value = followed.run("--seen", path)
        assert [finding["code"] for finding in value["findings"]] == codes, name
        if codes == ["monitor.split_view"]:
            assert evidence_of(value)["kept-checkpoint"] == text
    assert followed.codes("--seen", tmp_path / "nothing") == ["file.missing"]


def damage(path: Path, change: Callable[[bytes], bytes]) -> Callable[[], object]:
    """Change a file; what is returned mends it."""
    good = path.read_bytes()
    path.write_bytes(change(good))
    return lambda: path.write_bytes(good)


def flip(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


def test_every_tile_and_every_entry_is_hashed(followed: Followed) -> None:
    log = AnyLog(600)
    followed.show(log)
    entries = ["--entries", followed.folder]
    files = [path for path in (followed.folder / "tile").rglob("*") if path.is_file() and "1/000.p" not in str(path)]
    for number, path in enumerate(files):
        mend = damage(path, flip)
        followed.state = followed.state.with_name(f"state-{number}")
        wrong = followed.codes(*entries)
        assert len(wrong) == 1, path
        assert wrong[0] in ("tile.hash", "tile.root", "entry.hash", "entries.form"), path
        mend()
        assert followed.codes(*entries) == []
        damage(path, flip)
        assert len(followed.codes("--full", *entries)) == 1
        mend()
        damage(path, lambda data: data[:-1])
        assert followed.codes("--full", *entries)[0] in ("tile.size", "entries.form", "entry.hash")
        path.unlink()
        assert followed.codes("--full", *entries) == ["tile.missing"]
        log.write(followed.folder)
    mend = damage(followed.folder / "tile/1/000.p/2", lambda data: data[:32] + flip(data[:-1] + b"x")[32:])
    assert followed.codes("--full") == ["tile.hash"]
    mend()


def test_entries_are_caught_up_and_redactions_counted(followed: Followed) -> None:
    log = AnyLog(300)
    assert followed.show(log).codes() == []
    value = followed.run("--entries", followed.folder)
    assert (value["entries"], value["redacted"]) == (300, 0)
    log.grow(10)
    gone = log.entries[:]
    gone[305] = b""
    followed.show(log)
    path = followed.folder / layout.entries_path(1, 54)
    path.write_bytes(layout.encode_entry_bundle(gone[256:]))
    value = followed.run("--entries", followed.folder)
    assert (value["entries"], value["redacted"], value["findings"]) == (10, 1, [])


def test_old_cosignatures_and_missing_witnesses(followed: Followed) -> None:
    log, signer = AnyLog(5), witness_signer()
    followed.trust(f"witness w {signer.vkey}", quorum="w")
    assert followed.show(log).codes() == ["policy.quorum"]
    assert followed.show(log, cosigned_at=NOW - 100).run()["age_seconds"] == 100
    assert followed.codes("--max-age", 99) == ["monitor.stale"]
    assert followed.codes(now=NOW + 3600) == ["monitor.stale"]
    assert followed.show(log, cosigned_at=NOW + 9_999).codes("--max-age", 50) == []  # by the time it changed
    assert followed.codes("--max-age", 50, now=NOW + 51) == ["monitor.stale"]
    followed.show(AnyLog(6, forked_at=2))  # without its quorum it is compared all the same
    assert followed.codes() == ["policy.quorum", "monitor.split_view"]
    followed.trust()
    assert followed.show(log).codes() == []
    assert followed.codes(now=NOW + 10**6) == []  # a quiet log without witnesses is not stale unless you say so
    assert followed.codes("--max-age", 60, now=NOW + 10**6) == ["monitor.stale"]


def test_checkpoints_that_are_not_the_logs(followed: Followed) -> None:
    log = AnyLog(5)
    followed.show(log)
    stranger = note.NoteSigner(log.signer.name, key_of("stranger"))
    for text, code in (
        (note.sign(log.checkpoint().to_text(), [stranger]), "note.unknown_key"),
        (log.note()[:-20] + log.note()[-20:-8].swapcase() + log.note()[-8:], "note.signature"),
        (note.sign("other\n1\n", [log.signer]), "checkpoint.form"),
        (
            note.sign(Checkpoint("log.example.test/x", 0, merkle.EMPTY_ROOT).to_text(), [log.signer]),
            "checkpoint.origin",
        ),
        ("no note\n", "note.form"),
    ):
        (followed.folder / "checkpoint").write_text(text)
        value = followed.run()
        assert [finding["code"] for finding in value["findings"]] == [code]
        assert evidence_of(value)["shown-checkpoint"] == text
    (followed.folder / "checkpoint").write_bytes(b"\xff")
    assert followed.codes() == ["note.form"]
    (followed.folder / "checkpoint").unlink()
    assert followed.codes() == ["file.missing"]


def test_what_cannot_be_checked_exits_2(followed: Followed, tmp_path: Path) -> None:
    followed.show(AnyLog(5))
    assert followed.codes() == []
    assert followed.codes(source=tmp_path / "nothing") == ["file.missing"]
    state = followed.state / memory.STATE
    good = state.read_text()
    for wrong in ("not JSON", "[]", "{}", good.replace('"0"', '"1"'), good.replace("/1", "/2", 1)):
        state.write_text(wrong)
        assert followed.codes() == ["monitor.state"], wrong
    state.write_text(good)
    policy = followed.policy.read_text()
    followed.policy.write_text("quorum none\n")
    assert followed.codes() == ["trust.form"]
    followed.policy.write_text(policy.replace(AnyLog().signer.vkey, AnyLog(origin="log.example.test/x").signer.vkey))
    assert followed.codes() == ["monitor.state"]
    followed.policy.unlink()
    assert followed.codes() == ["trust.missing"]
    followed.policy.write_text(policy)
    with memory.locked(followed.state):
        assert followed.codes() == ["monitor.busy"]
    assert followed.codes() == []


@contextmanager
def serving(folder: Path) -> Iterator[Any]:
    """Any web server: the files below `folder`, entry bundles only with the key."""

    def answer(handler: Any, body: bytes) -> None:
        path = folder / handler.path.removeprefix("/log/")
        is_open = "entries" not in handler.path or handler.headers.get("Authorization") == "Bearer secret"
        if not is_open:
            says(403)(handler, body)
        elif path.is_file():
            says(200, path.read_bytes())(handler, body)
        else:
            says(404, b"nothing")(handler, body)

    with lying_witness(answer) as server:
        yield server


def test_over_http_with_and_without_a_key_for_the_entries(followed: Followed, tmp_path: Path) -> None:
    log = AnyLog(300)
    followed.show(log)
    key = tmp_path / "key"
    key.write_text("secret\n")
    with serving(followed.folder) as server:
        url = f"{server.url}/log/"
        assert followed.codes(source=url) == []
        assert followed.codes("--entries", url, source=url) == ["monitor.unreachable"]
        value = followed.run("--entries", url, "--entries-key", key, source=url)
        assert (value["entries"], value["findings"]) == (300, [])
        for path in (followed.folder / "tile/0/000.p", followed.folder / "tile/0/001.p"):
            assert not path.exists() or path.is_dir()
        followed.show(AnyLog(310, forked_at=290))
        assert followed.codes(source=url) == ["monitor.split_view"]
    assert followed.codes(source=url) == ["monitor.unreachable"]
    for wrong in ("ftp://x/", "http://", "http://u:p@x/", "http://x/?a", "http://x:99999999/"):
        assert followed.codes(source=wrong) == ["monitor.unreachable"]
    with pytest.raises(NotCheckable, match="unencrypted"):
        HttpSource("http://log.example.test/", until=0, key="secret")


def test_a_server_that_lies_floods_drips_or_sends_us_elsewhere(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded time and memory, whatever answers."""
    monkeypatch.setattr("compliance.proof.monitor.sources.WAIT_SECONDS", 1.0)
    cases: list[tuple[Answer, str]] = [
        (says(302, Location="/elsewhere"), "monitor.unreachable"),
        (says(500), "monitor.unreachable"),
        (says(404), "file.missing"),
        (floods(1 << 30), "json.size"),
        (says(200, b"not gzip", Content_Encoding="gzip"), "tile.size"),
        (drips(0.05), "monitor.unreachable"),
    ]
    with lying_witness(says(200)) as server:
        for number, (answer, code) in enumerate(cases):
            server.answer = answer
            seconds = 1 if number == len(cases) - 1 else 60
            assert followed.codes("--deadline", seconds, source=server.url) == [code]
        assert "/elsewhere" not in server.asked


def test_as_cron_runs_it(followed: Followed) -> None:
    """A process of its own, in words."""
    followed.show(AnyLog(5))
    command = [sys.executable, "-m", "compliance.proof", "monitor", followed.folder, "--trust", followed.policy]
    for log, status, words in (
        (AnyLog(5), 0, "ALL IS WELL"),
        (AnyLog(6, forked_at=1), 1, "WRONG  monitor.split_view"),
    ):
        followed.show(log)
        done = subprocess.run(
            [*command, "--state", followed.state], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (status, ""), done.stdout + done.stderr
        assert words in done.stdout


def test_the_log_of_the_vectors_is_well(tmp_path: Path) -> None:
    """With a whole trust folder: its log has a quorum of a witness, years ago."""
    out = io.StringIO()
    log, trust = METERPROOF / "valid/log", METERPROOF / "trust"
    words = ["monitor", log, "--policy", trust, "--state", tmp_path, "--entries", log, "--max-age", 10**9]
    assert main([str(word) for word in words], out) == 0, out.getvalue()


def test_what_is_shown_now_is_signed_by_the_current_key(world: World, tmp_path: Path) -> None:
    """A key that the operator gave up, or lost, signs for nobody any more."""
    log, trust = world.write_log(tmp_path / "log"), world.write_trust(tmp_path / "trust")
    old = note.NoteSigner(world.origin, key_of("old log key"))
    (trust / "policy").write_text(f"log {world.signer.vkey}\nlog {old.vkey}\nquorum none\n")
    words = ["monitor", str(log), "--policy", str(trust), "--state", str(tmp_path / "state")]
    for signers, status in (([world.signer], 0), ([world.signer, old], 0), ([old], 1)):
        (log / "checkpoint").write_text(note.sign(world.checkpoint().to_text(), signers))
        out = io.StringIO()
        assert main(words, out) == status, out.getvalue()
    assert "not signed by the key of log.vkey" in out.getvalue()


@pytest.mark.parametrize("sizes", [(512, 513), (300, 1_031), (PIECE - 300, PIECE + 7)], ids=str)
def test_a_tree_grows_as_the_tiles_do(sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces of two tiles, over the edges of the second and the third level."""
    monkeypatch.setattr("compliance.proof.monitor.tree.PIECE", 512)
    leaves = [merkle.leaf_hash(number.to_bytes(4, "big")) for number in range(sizes[-1])]
    made: dict[tuple[int, int], bytes] = {}
    tree = Tree()
    for first, last in ((0, sizes[0]), sizes):
        for level, index, _, data in layout.new_tiles(
            read_tile=lambda level, index, width: made[level, index][: width * 32],
            old_size=first,
            leaf_hashes=leaves[first:last],
        ):
            made[level, index] = data
        walk = Walk(last, lambda level, index, width: made[level, index][: width * 32], probe_at=first // 2)
        walk.run(tree)
        assert tree.root() == merkle.root(leaves[:last])
        tree.require_sound()
    tree.rows[0] = b"x"
    with pytest.raises(ProofError):
        tree.require_sound()
