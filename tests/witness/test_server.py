"""The witness as a process: HTTP, many askers at once, kill -9, and a log software that is not ours."""

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from aics_tlog import MerkleTree
from aics_witness.feeder import WitnessClient, WitnessRejected, merge_cosignatures
from django.core.management import CommandError, call_command

from compliance.proof import note
from compliance.proof.note import NoteVerifier
from compliance.proof.witness_protocol import (
    MAX_REQUEST_BYTES,
    SIZE_TYPE,
    checkpoint_path,
    read_cosignature,
    read_size,
)
from compliance.witness import cli, home
from tests.services import witnesses
from tests.services.witnesses import ENVIRONMENT, Running
from tests.witness.logs import ORIGIN, AnyLog


def add(witness: Running, body: bytes) -> httpx.Response:
    return httpx.post(f"{witness.url}/add-checkpoint", content=body, timeout=30)


def test_http_and_a_feeder_that_is_not_ours(tmp_path: Path) -> None:
    """One command makes and serves the witness. aics-witness's client cosigns through it, and is refused a fork."""
    log, fork = AnyLog(40), AnyLog(60, forked_at=35)
    with witnesses.ours(tmp_path / "w", log.signer.vkey) as witness:
        for method, path, status in (
            ("GET", "add-checkpoint", 405),
            ("POST", checkpoint_path(ORIGIN), 405),
            ("GET", checkpoint_path(ORIGIN), 404),
            ("GET", "../memory.sqlite3", 404),
        ):
            assert httpx.request(method, f"{witness.url}/{path}").status_code == status
        assert add(witness, b"x" * (MAX_REQUEST_BYTES + 1)).status_code == 413
        assert add(witness, b"hello").status_code == 400
        tree = MerkleTree(log.entries)
        with WitnessClient(witness.url, witness.vkey, state_path=tmp_path / "state.json") as client:
            for size in (3, 17, 17, 40):
                line = client.submit(log.note(size), tree.consistency_proof)
            cosigned = merge_cosignatures(log.note(), line).decode()
            opened = note.open_note(cosigned, [NoteVerifier.from_vkey(witness.vkey)])
            assert opened.verified[0].time is not None
            served = httpx.get(f"{witness.url}/{checkpoint_path(ORIGIN)}")
            assert served.status_code == 200
            assert note.split(served.text)[0] == log.checkpoint().to_text()
            conflict = add(witness, log.request(3))
            assert (conflict.status_code, conflict.headers["Content-Type"]) == (409, SIZE_TYPE)
            assert read_size(SIZE_TYPE, conflict.content) == 40
            other = MerkleTree(fork.entries)
            for size in (40, 60):
                with pytest.raises(WitnessRejected, match="422"):
                    client.submit(fork.note(size), other.consistency_proof)
    assert cli.main(["status", "--dir", str(tmp_path / "w")]) == 1
    assert not list((tmp_path / "w").glob("*-journal"))


def test_many_at_once_never_make_it_sign_two_histories(tmp_path: Path) -> None:
    """Two processes, eight askers, two forks: the signatures given are one chain of sizes in one history."""
    logs = AnyLog(200), AnyLog(200, forked_at=10)
    steps = [(old, new) for old in range(10, 22) for new in (old + 1, old + 5)]
    requests = [
        [(old, log.request(old, new), log.checkpoint(new).to_text(), new) for old, new in steps] for log in logs
    ]
    with witnesses.ours(tmp_path / "w", logs[0].signer.vkey) as witness:
        verifier = NoteVerifier.from_vkey(witness.vkey)
        assert add(witness, logs[0].request(0, 10)).status_code == 200

        def hammer(mine: int) -> list[tuple[int, int, int]]:
            given = []
            with httpx.Client(timeout=60) as client:
                for old, body, text, new in requests[mine % 2][(mine // 2) % 2 :]:
                    answer = client.post(f"{witness.url}/add-checkpoint", content=body)
                    assert answer.status_code in (200, 409, 422), answer.text
                    if answer.status_code == 200:
                        read_cosignature(answer.content, text, verifier)
                        given.append((mine % 2, old, new))
            return given

        with ThreadPoolExecutor(8) as pool:
            given = [item for answers in pool.map(hammer, range(8)) for item in answers]
    assert given
    assert len({history for history, _, _ in given}) == 1
    taken = sorted((old, new) for _, old, new in given)
    assert [old for old, _ in taken] == [10, *(new for _, new in taken[:-1])]
    last = home.load_store(tmp_path / "w").cosigned(ORIGIN)
    assert last is not None
    assert last.size == taken[-1][1]


def test_killed_before_it_answers_it_remembers(folder: Path, tmp_path: Path) -> None:
    """kill -9 after it stored, before the answer left: the state is there. Before it stored: no signature left."""
    log, fork = AnyLog(20), AnyLog(20, forked_at=2)
    body = tmp_path / "body"
    code = "import pathlib, sys; from compliance.witness import home; f, b = map(pathlib.Path, sys.argv[1:]); "
    code += "print(home.load(f).add_checkpoint(b.read_bytes()))"
    for point, old, new, kept in (
        ("signed", 0, 5, None),
        ("persisted", 0, 5, 5),
        ("signed", 5, 9, 5),
        ("persisted", 5, 9, 9),
    ):
        body.write_bytes(log.request(old, new))
        done = subprocess.run(
            [sys.executable, "-c", code, folder, body],
            env={**ENVIRONMENT, "METERPROOF_FAIL_AT": f"witness.{point}"},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (-signal.SIGKILL, b""), point
        last = home.load_store(folder).cosigned(ORIGIN)
        assert (last.size if last else None) == kept, (point, old)
    witness = home.load(folder)
    assert [
        witness.add_checkpoint(item).status for item in (fork.request(9, 9), fork.request(0, 20), log.request(9))
    ] == [
        422,
        409,
        200,
    ]


def test_the_command_of_the_product(tmp_path: Path, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`manage.py witness` needs no database and uses the folder of the settings."""
    call_command("witness", "keygen", "--name", "witness.example.test/w1")
    call_command("witness", "add-log", AnyLog().signer.vkey)
    assert (folders / "witness_dir" / "key.pem").exists()
    capsys.readouterr()
    call_command("witness", "status", "--json")
    assert json.loads(capsys.readouterr().out)["logs"][0]["origin"] == ORIGIN
    for words in (["keygen", "--name", "witness.example.test/w1"], ["add-log", str(tmp_path / "nothing")]):
        with pytest.raises(CommandError, match=r"witness|nothing"):
            call_command("witness", *words)
