"""The verifier as people call it: words, JSON, exit statuses; no Django, no network."""

import json
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest

from compliance.proof import note
from compliance.proof.__main__ import main
from compliance.proof.canonical import encode
from compliance.proof.errors import REASONS
from compliance.proof.merkle import inclusion_path
from compliance.proof.tlog_proof import build as build_proof
from tests.proof.vectors import METERPROOF, case
from tests.proof.world import METER, World

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What `python -m compliance.proof` does, in this process."""
    words, said, errors = list(map(str, arguments)), BytesIO(), StringIO()
    out = TextIOWrapper(said, encoding="utf-8", write_through=True)
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            status = main(words)
        except SystemExit as ended:  # of argparse
            status = int(ended.code or 0)
    return subprocess.CompletedProcess(words, status, said.getvalue().decode(), errors.getvalue())


def verify(path: Path, trust: Path, *more: object) -> subprocess.CompletedProcess[str]:
    return run("verify", path, "--policy", trust, *more)


def test_as_people_call_it():
    arguments = ["verify", METERPROOF / "valid/meter.proof", "--policy", METERPROOF / "trust"]
    command = [sys.executable, "-m", "compliance.proof", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=90)
    assert (done.returncode, done.stdout, done.stderr) == (0, run(*arguments).stdout, "")


@pytest.mark.parametrize(
    "case_id", ["bundle-meter", "log", "receipt-mfg.assembled", "checkpoint-100", "entry-012", "event-012"]
)
def test_what_verifies_exits_0_and_says_each_step(case_id):
    item = case(case_id)
    done = verify(METERPROOF / item["file"], METERPROOF / "trust")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VERIFIED" in done.stdout
    assert " 1. [ok ] Your trust folder" in done.stdout
    assert done.stderr == ""


def test_a_bundle_says_what_was_checked_in_words():
    done = verify(METERPROOF / "valid/meter.proof", METERPROOF / "trust/policy")
    for words in (
        "the witnesses you ask for cosigned it: w1",
        "each entry naming the hash of the one before",
        "elster: ",
        "key pinned by your trust file",
        "vouched for by the operator's log only",
        "stadtwerk: 1 entries, vouched by the platform",
        "linked entries, each with its cause shown",
        "is complete up to seq 16 under the checkpoint of size 273",
        "the operator's signed word",
    ):
        assert words in done.stdout, words


def test_what_does_not_verify_exits_1_and_names_the_place():
    done = verify(METERPROOF / "invalid/bundle-link-effect.proof", METERPROOF / "trust")
    assert done.returncode == 1
    assert "[BAD] Linked entries and their causes" in done.stdout
    assert "NOT VERIFIED  link.effect at leaf 151" in done.stdout


def test_json_says_the_same():
    done = verify(METERPROOF / "valid/redacted.proof", METERPROOF / "trust", "--json")
    value = json.loads(done.stdout)
    assert (value["verdict"], value["exit"], value["redacted"], value["kind"]) == ("ok", 0, [26], "bundle")
    assert value["checkpoint"]["size"] == 273
    assert value["heads"] == {"meter:dlms_system_title:454C530000002428": 16}
    assert {step["status"] for step in value["steps"]} == {"ok"}
    bad = json.loads(verify(METERPROOF / "invalid/bundle-entry-edited.proof", METERPROOF / "trust", "--json").stdout)
    assert (bad["verdict"], bad["exit"], bad["code"]) == ("bad", 1, "proof.inclusion")
    assert bad["place"].startswith("leaf ")
    assert bad["steps"][-1]["code"] == "proof.inclusion"


def two(code: str, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2, done.stdout
    assert f"COULD NOT BE CHECKED  {code}" in done.stdout


def test_what_cannot_be_checked_exits_2(tmp_path):
    good, trust = METERPROOF / "valid/meter.proof", METERPROOF / "trust"
    two("file.missing", verify(tmp_path / "nothing", trust))
    two("trust.missing", verify(good, tmp_path / "nothing"))
    two("trust.missing", verify(good, tmp_path))
    unknown = tmp_path / "unknown"
    unknown.write_bytes(b"hello")
    two("file.unknown", verify(unknown, trust))
    unknown.write_bytes(b"")
    two("file.unknown", verify(unknown, trust))
    two("file.unknown", verify(trust / "trust.json", trust))
    newer = tmp_path / "newer.proof"
    newer.write_bytes(good.read_bytes().replace(b"meterproof-bundle/1", b"meterproof-bundle/2"))
    two("bundle.version", verify(newer, trust))
    two("keys.missing", verify(METERPROOF / case("batch-s")["file"], trust))
    two("keys.missing", verify(METERPROOF / case("batch-s")["file"], trust, "--keys", good))
    two("file.missing", verify(METERPROOF / case("batch-s")["file"], trust, "--keys", tmp_path / "nothing"))
    (tmp_path / "folder").mkdir()
    two("file.missing", verify(tmp_path / "folder", trust))


@pytest.mark.parametrize(
    "arguments", [[], ["verify"], ["verify", "x"], ["check", "x"], ["verify", "x", "--policy"]], ids=str
)
def test_wrong_usage_exits_2(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.vkey", "not a key\n"),
        ("log.vkey", "witness.test/w1+0645f555+BK9I7RmLAjwqXxjY09Nzo/LH/qyUH/vZhLfM8wrasttq\n"),
        ("policy", "quorum none\n"),
        ("policy", "log x\n"),
        ("trust.json", "{}"),
        ("trust.json", "not json"),
        ("trust.json", '{"format":"meterproof-trust/2","log":"l","receipt_keys":[],"organisations":[]}'),
        ("report-root.crt", "not a certificate"),
    ],
)
def test_a_trust_folder_that_cannot_be_understood_exits_2(name, text, world, tmp_path):
    trust = world.write_trust(tmp_path / "trust")
    (trust / name).write_text(text)
    file = tmp_path / "checkpoint"
    file.write_text(world.note())
    done = verify(file, trust)
    assert done.returncode == 2
    assert "trust.form" in done.stdout


@pytest.mark.parametrize(
    "change",
    [
        {"log": "log.example.test/other"},
        {"log": "a b"},
        {"receipt_keys": []},
        {"receipt_keys": [{}]},
        {"organisations": {}},
        {"organisations": [{"organisation": "acme"}]},
        {"organisations": [{"organisation": "ACME", "keys": ["sha256:" + "0" * 64]}]},
        {"organisations": [{"organisation": "acme", "keys": []}]},
        {"organisations": [{"organisation": "acme", "keys": ["x"]}]},
    ],
    ids=str,
)
def test_a_trust_file_of_another_form_exits_2(change, world, tmp_path):
    trust = world.write_trust(tmp_path / "trust")
    value = json.loads((trust / "trust.json").read_bytes()) | change
    (trust / "trust.json").write_bytes(encode(value))
    file = tmp_path / "checkpoint"
    file.write_text(world.note())
    two("trust.form", verify(file, trust))


def test_a_batch_with_its_keys_verifies():
    item = case("batch-mfg.assembled")
    done = verify(METERPROOF / item["file"], METERPROOF / "trust", "--keys", METERPROOF / "keys.json")
    assert done.returncode == 0, done.stdout
    assert item["batch_id"] in done.stdout


def test_a_proof_file_with_its_entry_verifies(world: World, tmp_path):
    trust = world.write_trust(tmp_path / "trust")
    world.append("acme", ["acme"], [world.event(METER.format(1), "mfg.assembled")])
    proof, entry = tmp_path / "event.tlog-proof", tmp_path / "entry.json"
    path = inclusion_path(world.hashes, 2)
    proof.write_text(build_proof(index=2, path=path, checkpoint=world.note()))
    entry.write_bytes(world.leaves[2].data)
    assert verify(proof, trust, "--entry", entry).returncode == 0
    two("file.missing", verify(proof, trust))
    entry.write_bytes(world.leaves[1].data)
    done = verify(proof, trust, "--entry", entry)
    assert done.returncode == 1
    assert "proof.inclusion" in done.stdout
    proof.write_text("c2sp.org/tlog-proof@v1\nindex x\n\n")
    assert "proof.form" in verify(proof, trust).stdout


def test_heads_alone_verify(world: World, tmp_path):
    trust = world.write_trust(tmp_path / "trust")
    file = tmp_path / "heads.json"
    file.write_bytes(world.heads_envelope(["organisation:org:acme"]))
    done = verify(file, trust)
    assert done.returncode == 0, done.stdout
    assert "the operator's word on the last entries of 1 chains" in done.stdout


def test_a_checkpoint_that_no_witness_signed_is_said_to_be_so(world: World, tmp_path):
    trust = world.write_trust(tmp_path / "trust", quorum="none")
    file = tmp_path / "checkpoint"
    file.write_text(world.note(witnessed=False))
    done = verify(file, trust)
    assert done.returncode == 0
    assert "no witness cosigned it" in done.stdout
    file.write_text(world.note() + note.NoteSigner("stranger.example", world.log_key).line("x\n"))
    assert "1 lines of keys not known to you were passed over" in verify(file, trust).stdout


def test_the_reason_codes_can_be_listed():
    done = run("reasons")
    assert done.returncode == 0
    assert all(code in done.stdout for code in REASONS)


def test_the_verifier_needs_no_django_and_no_network():
    """A regulator runs it alone: of ours only `proof` is imported, no Django, and nothing connects."""
    arguments = ["verify", str(METERPROOF / "valid/meter.proof"), "--policy", str(METERPROOF / "trust")]
    code = (
        "import sys\n"
        "import socket\n"
        "def no(*_): raise SystemExit('network')\n"
        "socket.socket.connect = no\n"
        "from compliance.proof.__main__ import main\n"
        f"status = main({arguments!r})\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'django', 'rest_framework', 'celery', 'httpx', 'yaml', 'pyhanko', 'asn1crypto'}, loaded\n"
        "ours = {name for name in sys.modules if name.startswith('compliance.')}\n"
        "assert all(name.startswith('compliance.proof') for name in ours), ours\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_in_a_policy_need_not_be_text(tmp_path):
    """C2SP tlog-policy: names are opaque octets. Said in a form that every terminal takes."""
    trust = shutil.copytree(METERPROOF / "trust", tmp_path / "trust")
    policy = (trust / "policy").read_bytes()
    (trust / "policy").write_bytes(
        policy.replace(b"witness w1", b"witness w\x9c").replace(b"quorum w1", b"quorum w\x9c")
    )
    done = verify(METERPROOF / "valid/checkpoint-100.txt", trust)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the witnesses you ask for cosigned it: w\\udc9c" in done.stdout
