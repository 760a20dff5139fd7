"""What the monitor says: an operator of a cron job reads it once, when something is wrong."""

import io
from pathlib import Path

import pytest

from compliance.proof import layout
from compliance.proof.__main__ import main
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.monitor.sources import FolderSource, open_source, read_entries, read_tile
from tests.proof.test_monitor import NOW, Followed
from tests.witness.logs import AnyLog, witness_signer


def words(followed: Followed, *more: object, now: int = NOW, source: object = None) -> list[str]:
    """The lines of a run, and its exit status; paths as seen from the test's folder."""
    out = io.StringIO()
    asked = ["monitor", source or followed.folder, "--policy", followed.policy, "--state", followed.state, *more]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: float(now))
        status = main([str(word) for word in asked], out)
    return [*out.getvalue().replace(str(followed.folder.parent), "").splitlines(), f"exit {status}"]


def test_a_run_that_finds_nothing(tmp_path: Path) -> None:
    followed = Followed(tmp_path)
    followed.trust(f"witness w {witness_signer().vkey}", quorum="w")
    log = AnyLog(300)
    root = log.checkpoint().root.hex()
    assert words(followed.show(log, cosigned_at=NOW - 100)) == [
        "Monitoring /log",
        "",
        f"  a checkpoint of 300 entries, root {root}",
        "  cosigned by w",
        "  3 hash tiles agree with the leaves and the root",
        "  last cosigned at 2027-01-15T07:58:20Z, 100 seconds ago",
        "",
        "ALL IS WELL",
        "exit 0",
    ]
    first = {"origin": "log.example.test/any", "size": 300, "root": root}
    log.grow(10)
    value = followed.show(log, cosigned_at=NOW - 50).run("--entries", followed.folder)
    assert value == {
        "source": str(followed.folder),
        "verdict": "ok",
        "exit": 0,
        "findings": [],
        "checkpoint": {**first, "size": 310, "root": log.checkpoint().root.hex()},
        "witnesses": ["w"],
        "kept": first,
        "tiles": 3,
        "entries": 310,
        "redacted": 0,
        "age_seconds": 50,
        "age_by": "cosigned",
    }
    seen = tmp_path / "seen"
    seen.write_text(AnyLog(300).note())
    log.grow(2_000)
    assert words(followed.show(log, cosigned_at=NOW), "--entries", followed.folder, "--seen", seen)[3:-2] == [
        "  cosigned by w",
        "  it continues the one of 310 entries that was kept",
        "  10 hash tiles agree with the leaves and the root",
        "  2,000 entries are the leaves, 0 of them redacted",
        "  /seen is a beginning of it",
        "  last cosigned at 2027-01-15T08:00:00Z, 0 seconds ago",
        "",
    ]


def test_a_run_that_finds_something(tmp_path: Path) -> None:
    followed = Followed(tmp_path)
    assert words(followed.show(AnyLog(300)))[3] == "  no witness cosigned it"
    lines = words(followed, "--max-age", 10, now=NOW + 1_011)
    assert lines[-6:-4] == [
        "  last changed, as far as this monitor saw, at 2027-01-15T08:00:00Z, 1,011 seconds ago",
        "  WRONG  monitor.stale: the checkpoint was last changed, as far as this monitor saw, 1,011 seconds ago, "
        "the limit is 10",
    ]
    assert lines[-4].startswith("         evidence: /state/evidence/monitor.stale-")
    assert lines[-1] == "exit 1"
    lines = words(followed.show(AnyLog(1_320, forked_at=5)))
    assert lines[4] == (
        "  WRONG  monitor.split_view at tile/0/001: the log of 1,320 entries does not continue the one of 300, "
        "both signed by the log"
    )
    assert lines[-2:] == ["SOMETHING IS WRONG", "exit 1"]
    assert followed.run()["kept"]["size"] == 300
    assert words(followed, source=tmp_path / "none") == [
        "Monitoring /none",
        "",
        "  COULD NOT BE CHECKED  file.missing at /none: there is no such folder",
        "",
        "COULD NOT BE CHECKED",
        "exit 2",
    ]


def test_the_age_is_that_of_the_newest_believable_cosignature(tmp_path: Path) -> None:
    followed = Followed(tmp_path)
    followed.trust(f"witness w {witness_signer().vkey}")
    value = followed.show(AnyLog(5), cosigned_at=NOW - 7).run()
    assert (value["age_seconds"], value["age_by"]) == (7, "cosigned")
    value = followed.show(AnyLog(5), cosigned_at=NOW + 299).run()
    assert (value["age_seconds"], value["age_by"]) == (0, "cosigned")
    value = followed.show(AnyLog(5), cosigned_at=NOW + 301).run(now=NOW + 1)
    assert (value["age_seconds"], value["age_by"]) == (0, "cosigned")
    value = followed.show(AnyLog(5), cosigned_at=NOW + 9_999).run(now=NOW + 1)
    assert (value["age_seconds"], value["age_by"]) == (1, "changed")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/",
        "http://",
        "https://",
        "http:///x",
        "http://u@h/",
        "http://h/?q",
        "http://h/#f",
        "http://h:0/",
        "x://h",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(NotCheckable) as refused:
        open_source(url, until=0)
    assert (refused.value.code, refused.value.place) == ("monitor.unreachable", url)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://h/", ""),
        ("https://h/log", "k"),
        ("http://localhost/", "k"),
        ("http://127.0.0.1:1/", "k"),
        ("http://[::1]", "k"),
    ],
)
def test_where_a_key_may_go(url: str, key: str) -> None:
    open_source(url, until=0, key=key)


def test_full_files_stand_for_partial_ones_that_went(tmp_path: Path) -> None:
    AnyLog(512).write(tmp_path)
    source = FolderSource(tmp_path)
    full = read_tile(source, 0, 1, 256)
    for path in (layout.tile_path(0, 1, 44), layout.entries_path(1, 44)):
        (tmp_path / path).unlink(missing_ok=True)
    assert read_tile(source, 0, 1, 44) == full[: 44 * 32]
    assert read_entries(source, 1, 44) == read_entries(source, 1, 256)[:44]
    for path, code in ((layout.tile_path(0, 1), "tile.missing"), (layout.entries_path(1), "entries.form")):
        data = (tmp_path / path).read_bytes()
        (tmp_path / path).write_bytes(data[:-32] if "entries" not in path else layout.encode_entry_bundle([b"a"] * 255))
        with pytest.raises(ProofError) as refused:
            read_tile(source, 0, 1, 44) if "entries" not in path else read_entries(source, 1, 44)
        assert refused.value.code == code
        (tmp_path / path).unlink()
        with pytest.raises(ProofError) as refused:
            read_tile(source, 0, 1, 44) if "entries" not in path else read_entries(source, 1, 44)
        assert refused.value.code == "tile.missing"
    short = tmp_path / layout.tile_path(0, 1, 44)
    short.parent.mkdir()
    short.write_bytes(full[: 43 * 32])
    with pytest.raises(ProofError) as refused:
        read_tile(source, 0, 1, 44)
    assert (refused.value.code, refused.value.place) == ("tile.size", layout.tile_path(0, 1, 44))
