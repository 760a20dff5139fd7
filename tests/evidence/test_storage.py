"""The blob store: bytes lie under their digest, are never overwritten, and damage is seen wherever they are read."""

import errno
import io
import os
import time
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.evidence import storage
from compliance.evidence.errors import BlobDamaged, BlobMissing, IntakeRefused
from compliance.evidence.storage import Condition
from compliance.jobs import failpoints


@pytest.fixture(autouse=True)
def blob_dir(tmp_path, settings):
    settings.METERPROOF = {**settings.METERPROOF, "BLOB_DIR": tmp_path / "blobs"}
    return tmp_path / "blobs"


def put(data: bytes) -> str:
    return storage.store(io.BytesIO(data)).sha256


def path_of(blob_dir, digest):
    return blob_dir / digest[:2] / digest[2:4] / digest


def overwrite(path, data: bytes) -> None:
    path.chmod(0o640)
    path.write_bytes(data)


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]


@given(st.binary(min_size=1, max_size=2_000))
def test_what_is_stored_is_read(data):
    blob = storage.store(io.BytesIO(data))
    assert blob == storage.StoredBlob(sha256(data).hexdigest(), len(data))
    assert storage.read_blob(blob.sha256) == data
    with storage.open_blob(blob.sha256) as file:
        assert file.read() == data


def test_storing_twice_keeps_one_file(blob_dir):
    assert put(b"same") == put(b"same")
    assert len(files_in(blob_dir)) == 1
    assert path_of(blob_dir, put(b"same")).stat().st_mode & 0o777 == 0o440


@pytest.mark.parametrize(
    ("data", "options", "code"),
    [
        (b"", {}, "file.empty"),
        (b"12345", {"max_bytes": 4}, "file.too_large"),
        (b"12345", {"expected_sha256": "0" * 64}, "file.digest"),
    ],
)
def test_refused_bytes_leave_nothing(blob_dir, data, options, code):
    with pytest.raises(IntakeRefused) as caught:
        storage.store(io.BytesIO(data), **options)
    assert caught.value.code == code
    assert files_in(blob_dir) == []


def test_the_limit_itself_is_allowed():
    assert storage.store(io.BytesIO(b"1234"), max_bytes=4).size == 4


def test_a_sender_that_breaks_off_leaves_nothing(blob_dir):
    class Broken(io.RawIOBase):
        def read(self, _size=-1):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        storage.store(Broken())
    assert files_in(blob_dir) == []


def test_a_full_disk_leaves_nothing(blob_dir):
    """F11: the write fails as a full disk would make it fail; nothing half-written stays."""

    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    with failpoints.arm("evidence.blob_written", full), pytest.raises(OSError, match="No space"):
        put(b"much")
    assert files_in(blob_dir) == []


def test_a_flipped_bit_is_never_served(blob_dir):
    """F13."""
    digest = put(b"truth")
    overwrite(path_of(blob_dir, digest), b"trutH")
    assert storage.verify_blob(digest) is Condition.DAMAGED
    for read in (storage.open_blob, storage.read_blob):
        with pytest.raises(BlobDamaged):
            read(digest)
    assert [(damage.sha256, damage.place) for damage in storage.scrub()] == [
        (digest, f"{digest[:2]}/{digest[2:4]}/{digest}")
    ]


def test_a_missing_blob_is_said(blob_dir):
    """F14."""
    digest = put(b"truth")
    path_of(blob_dir, digest).unlink()
    assert storage.verify_blob(digest) is Condition.MISSING
    with pytest.raises(BlobMissing):
        storage.open_blob(digest)


def test_good_bytes_sent_again_heal_a_damaged_blob_and_keep_the_damaged_one(blob_dir):
    digest = put(b"truth")
    overwrite(path_of(blob_dir, digest), b"lies")
    put(b"truth")
    assert storage.read_blob(digest) == b"truth"
    assert [path.read_bytes() for path in (blob_dir / "damaged").iterdir()] == [b"lies"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "0" * 63, "", "0" * 64 + "\n"])
def test_only_digests_name_blobs(name):
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        storage.open_blob(name)
    assert storage.verify_blob(name) is Condition.MISSING


def test_the_sweep_takes_old_orphans_and_nothing_else(blob_dir):
    """F3: what a killed upload left is gone after a day; what evidence names, and what is young, stays."""
    wanted, old, young = put(b"wanted"), put(b"old"), put(b"young")
    leftover = blob_dir / "incoming" / "upload-x"
    leftover.write_bytes(b"half")
    long_ago = time.time() - storage.ORPHAN_AGE.total_seconds() - 60
    for path in (path_of(blob_dir, wanted), path_of(blob_dir, old), leftover):
        os.utime(path, (long_ago, long_ago))
    assert sorted(storage.sweep_orphans({wanted})) == sorted(["upload-x", old])
    assert set(storage.stored_digests()) == {wanted, young}


def test_storing_an_old_orphan_again_makes_it_young(blob_dir):
    """An upload that finds its bytes there must not lose them to a sweep before its evidence is recorded."""
    digest = put(b"again")
    long_ago = time.time() - storage.ORPHAN_AGE.total_seconds() - 60
    os.utime(path_of(blob_dir, digest), (long_ago, long_ago))
    put(b"again")
    assert storage.sweep_orphans(set()) == []
    assert storage.read_blob(digest) == b"again"
