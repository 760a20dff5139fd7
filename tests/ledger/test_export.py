"""The log leaves and comes back: every byte, checked by strangers, refused when anything is wrong."""

import functools
import hashlib
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aics_tlog
import pytest
from django.db import connection

from compliance.accounts.models import Organisation, SigningKey
from compliance.custody.models import Meter
from compliance.ledger import (
    export,
    files,
    fsck,
    guards,
    importing,
    integrate,
    keys,
    mirror,
    post_quantum_key,
    proofs,
    publish,
    rotation,
    tasks,
)
from compliance.ledger.append import append_batch
from compliance.ledger.errors import LedgerError
from compliance.ledger.importing import ImportRefused
from compliance.ledger.models import Batch, Entry
from compliance.proof.verify import verify_file
from tests.conftest import FOLDERS, take_down_guards
from tests.ledger.world import OCCURRED, Factory, received, stamp_all

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]

METERS = 30


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assembled(factory: Factory, number: int) -> dict[str, Any]:
    """A meter's first event, as the vocabulary asks for it."""
    return factory.event(f"meter:dlms_system_title:454C56{number:010X}", occurred_at=OCCURRED)


@pytest.fixture
def exported(log: Path, tmp_path: Path) -> Path:
    """The export of a log with checkpoints, time stamps, a duplicate, two new keys and a batch not yet published."""
    factory = Factory()
    factory.register()
    known = assembled(factory, 0)
    factory.send([known, *(assembled(factory, number) for number in range(1, METERS))])
    tasks.integrate_and_publish()
    stamp_all()
    post_quantum_key.make()
    rotation.begin(keys.LOG)
    for first in range(0, 240, 120):
        factory.send([assembled(factory, 1000 + number) for number in range(first, first + 120)])
        tasks.integrate_and_publish()
    rotation.finish(keys.LOG)
    append_batch(received(factory.sign([known])))  # nothing new: a batch without a place
    tasks.integrate_and_publish()
    stamp_all()
    factory.send([assembled(factory, 5000)])
    export.export_log(tmp_path / "export")
    return tmp_path / "export"


def emptied(settings: Any, where: Path) -> None:
    """Another installation: no rows, other folders."""
    take_down_guards()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # checks that wait for a commit would refuse TRUNCATE
        for table in connection.introspection.table_names():
            if table.startswith(("ledger_", "custody_", "accounts_organisation", "accounts_signingkey")):
                if connection.vendor == "postgresql":
                    cursor.execute(f'TRUNCATE "{table}" CASCADE')
                else:
                    cursor.execute(f'DELETE FROM "{table}"')  # noqa: S608
    guards.install()
    settings.METERPROOF = {**settings.METERPROOF, **{name: where / name.lower() for name in FOLDERS}}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A web server that knows nothing of logs."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's word)
        """Say nothing."""


def test_an_export_verifies_with_other_peoples_tools(exported: Path) -> None:
    vkey = (exported / "trust" / "log.vkey").read_text().strip()
    note = aics_tlog.parse_note((exported / "checkpoint").read_text())
    assert aics_tlog.verify_checkpoint(note, aics_tlog.parse_vkey(vkey)).ok
    checkpoint = aics_tlog.parse_checkpoint(note.text)
    handler = functools.partial(Quiet, directory=str(exported))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        reader = aics_tlog.HttpTileReader(f"http://127.0.0.1:{server.server_port}", proxies={})
        report = aics_tlog.audit_tiles(reader, checkpoint.size, checkpoint.root)
        server.shutdown()
    assert (report.tiles, report.bundles) == (3, 2)
    command = [sys.executable, "-m", "compliance.proof", "verify", exported, "--policy", exported / "trust"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    stamped = ["-data", exported / "checkpoint.anchored", "-in", exported / "checkpoint.tsr"]
    root = ["-CAfile", exported / "trust" / "tsa-root.crt"]
    done = subprocess.run(["openssl", "ts", "-verify", *stamped, *root], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_import_is_the_log_byte_for_byte(exported: Path, tmp_path: Path, settings: Any) -> None:
    """The export of the import is the export; rows, projections, folder, trust and proofs are those of the first."""
    unpublished = 1
    rows = {model: list(model._default_manager.order_by("pk").values()) for model in (Organisation, SigningKey)}
    entries, meters = Entry.objects.count() - unpublished, Meter.objects.count() - unpublished
    published, trust = tree(settings.METERPROOF["LOG_DIR"]), tree(settings.METERPROOF["TRUST_DIR"])
    emptied(settings, tmp_path / "mirror")
    read = importing.import_log(exported)
    assert (read.size, read.checkpoints, read.time_stamps) == (entries, 5, 5)
    export.export_log(tmp_path / "again")
    assert tree(tmp_path / "again") == tree(exported)
    assert tree(settings.METERPROOF["LOG_DIR"]) == published
    assert tree(settings.METERPROOF["TRUST_DIR"]) == {name: trust[name] for name in export.TRUST_FILES if name in trust}
    assert (Entry.objects.count(), Meter.objects.count()) == (entries, meters)
    for model, before in rows.items():
        assert list(model._default_manager.order_by("pk").values()) == before
    assert fsck.run().problems == []
    assert mirror.is_mirror()
    assert not settings.METERPROOF["SECRETS_DIR"].exists()
    tasks.integrate_and_publish()  # a worker that runs on a mirror finds nothing to do
    tasks.anchor()
    assert tree(settings.METERPROOF["LOG_DIR"]) == published
    with pytest.raises(LedgerError, match="is missing"):
        Factory("new").register()
    with pytest.raises(ImportRefused, match=r"import\.not_empty"):
        importing.import_log(exported)
    with pytest.raises(LedgerError, match="is not empty"):
        export.export_log(exported)


def flipped(path: Path) -> None:
    """One bit in the middle of the file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def first(folder: Path, pattern: str) -> Path:
    """The first file of a kind."""
    return min(path for path in folder.glob(pattern) if path.is_file())


HARMS: dict[str, Callable[[Path], Path]] = {
    "checkpoint": lambda folder: folder / "checkpoint",
    "tile/0": lambda folder: first(folder, "tile/0/*"),
    "tile/entries": lambda folder: first(folder, "tile/entries/*"),
    "batches": lambda folder: first(folder, "batches/*"),
    "receipts": lambda folder: first(folder, "receipts/*"),
    "checkpoints": lambda folder: first(folder, "checkpoints/*"),
    "time-stamps": lambda folder: first(folder, "time-stamps/*.tsr"),
    "export.json": lambda folder: folder / "export.json",
    "trust.json": lambda folder: folder / "trust" / "trust.json",
}


def test_a_broken_export_is_refused_and_leaves_nothing(exported: Path, tmp_path: Path, settings: Any) -> None:
    """With the code and the place, whatever file was changed or is gone; after it the whole one is imported."""
    emptied(settings, tmp_path / "mirror")
    for name, choose in HARMS.items():
        path = choose(exported)
        before = path.read_bytes()
        for harm in (flipped, Path.unlink):
            harm(path)
            with pytest.raises(ImportRefused) as refusal:
                importing.import_log(exported)
            said = f"{refusal.value.place} {refusal.value}"
            assert refusal.value.code, name
            if name not in ("tile/entries", "tile/0", "checkpoint"):
                assert any(word in said for word in (path.name, path.stem.removesuffix("-0"), name, export.MANIFEST)), (
                    name,
                    said,
                )
            assert not Batch.objects.exists()
            assert not any((tmp_path / "mirror").rglob("*.json"))
            assert not any(settings.METERPROOF["TRUST_DIR"].glob("*")), name
            path.write_bytes(before)
    settings.METERPROOF = {**settings.METERPROOF, "ORIGIN": "other.example/log"}
    with pytest.raises(ImportRefused, match=r"import\.origin"):
        importing.import_log(exported)
    settings.METERPROOF = {**settings.METERPROOF, "ORIGIN": "meterproof.example/log"}
    keys.make_missing()
    with pytest.raises(ImportRefused, match=r"import\.keys"):
        importing.import_log(exported)
    shutil.rmtree(settings.METERPROOF["SECRETS_DIR"])
    importing.import_log(exported)
    assert verify_file(settings.METERPROOF["LOG_DIR"], exported / "trust").error is None
    assert proofs.tlog_proof("meter:dlms_system_title:454C560000000001", 0)


def test_evidence_files_go_along(log: Path, tmp_path: Path, settings: Any) -> None:
    """With --with-evidence; a file whose bytes are not those of its name is refused."""
    factory = Factory()
    factory.register()
    kept = mirror.evidence_files()
    assert kept is not None
    kept.keep(b"certificate")
    digest = files_sha256(b"certificate")
    evidence = [{"sha256": digest, "size": 11, "media_type": "application/pdf", "name": "a.pdf"}]
    factory.send([{**assembled(factory, 1), "evidence": evidence}])
    integrate.integrate()
    publish.publish()
    assert export.export_log(tmp_path / "export", with_evidence=True).evidence == 1
    emptied(settings, tmp_path / "mirror")
    files.replace(tmp_path / "export" / "evidence" / digest, b"another")
    with pytest.raises(ImportRefused, match=r"file\.digest"):
        importing.import_log(tmp_path / "export")
    files.replace(tmp_path / "export" / "evidence" / digest, b"certificate")
    assert importing.import_log(tmp_path / "export").evidence == 1
    assert kept.find(digest) == b"certificate"


def files_sha256(data: bytes) -> str:
    """The name of a file in the evidence store."""
    return hashlib.sha256(data).hexdigest()
