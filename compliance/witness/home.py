"""The folder of a witness: `key.pem` (0600), `memory.sqlite3`, `vkey` to hand out, `evidence/`.

Key and memory are made together, once. A folder that holds one of them without the other is a witness that lost
something: nothing here makes the other anew.
"""

import sqlite3
from pathlib import Path
from typing import Final

from compliance.proof import durable_files, note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.keys import PrivateKey
from compliance.proof.note import TYPE_COSIGNATURE, NoteSigner, NoteVerifier
from compliance.witness.cosign import Witness
from compliance.witness.store import Cosigned, StoreError, WitnessStore, create

KEY: Final = "key.pem"
MEMORY: Final = "memory.sqlite3"
VKEY: Final = "vkey"
EVIDENCE: Final = "evidence"
_OTHERS_MAY: Final = 0o077


class HomeError(Exception):
    """The folder cannot be used. The text is for the operator."""


def is_made(folder: Path) -> bool:
    """Whether there is anything of a witness in `folder`."""
    return any((folder / name).exists() for name in (KEY, MEMORY, VKEY))


def make(folder: Path, name: str) -> str:
    """Make key and memory of the witness `name`; its vkey. Raises HomeError if there is one already."""
    if is_made(folder):
        raise HomeError(f"{folder} holds a witness already. A new witness needs a new folder and a new name.")
    try:
        key = PrivateKey.generate()
        signer = NoteSigner(name, key, TYPE_COSIGNATURE)
    except ProofError as error:
        raise HomeError(f"{name!r} cannot name a witness: {error.detail}. Use an address without scheme.") from None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        create(folder / MEMORY, signer.vkey)
        durable_files.replace(folder / VKEY, f"{signer.vkey}\n".encode())
        durable_files.create(folder / KEY, key.to_pem(), mode=0o600)
    except (OSError, sqlite3.Error):  # its key never left this call, so nothing was signed and nothing is forgotten
        for name in (KEY, VKEY, MEMORY):
            (folder / name).unlink(missing_ok=True)
        raise
    return signer.vkey


def load_signer(folder: Path) -> NoteSigner:
    """The witness's key under its name. Raises HomeError."""
    path = folder / KEY
    try:
        if path.stat().st_mode & _OTHERS_MAY:
            raise HomeError(f"{path} can be read by others than its owner. Mend it with: chmod 600 {path}")
        verifier = NoteVerifier.from_vkey((folder / VKEY).read_text().strip())
        signer = NoteSigner(verifier.name, PrivateKey.from_pem(path.read_bytes()), TYPE_COSIGNATURE)
    except FileNotFoundError as error:
        raise HomeError(f"{error.filename} is missing. Make a witness first: witness keygen --name NAME") from None
    except ProofError as error:
        raise HomeError(f"the key in {folder} cannot be used: {error}") from None
    if signer.verifier != verifier:
        raise HomeError(f"{path} is not the key of {verifier.vkey}.")
    return signer


def load_store(folder: Path) -> WitnessStore:
    """The witness's memory. Raises HomeError."""
    try:
        return WitnessStore(folder / MEMORY, load_signer(folder).vkey)
    except StoreError as error:
        raise HomeError(str(error)) from None


def load(folder: Path) -> Witness:
    """The witness in `folder`. Raises HomeError."""
    return Witness(load_signer(folder), load_store(folder), folder / EVIDENCE)


def add_log(folder: Path, vkey: str, *, known: str | None = None) -> bool:
    """Trust a log by its vkey; False if it was trusted already.

    `known` is a signed checkpoint to begin from, obtained by another way than from the log itself: the witness then
    asks for a consistency proof from there, instead of believing whatever comes first. Raises HomeError.
    """
    store = load_store(folder)
    try:
        verifier = NoteVerifier.from_vkey(vkey)
        if verifier.type == TYPE_COSIGNATURE:
            raise HomeError(f"{vkey} is the key of a witness, not of a log.")
        if verifier.key.keyid == load_signer(folder).verifier.key.keyid:
            raise HomeError("a witness cannot be its own log")
        begin = None if known is None else _cosigned(known, verifier)
    except ProofError as error:
        raise HomeError(f"no key of a log, or no checkpoint of it: {error}") from None
    added = store.add_log(verifier.vkey, verifier.name)
    if begin is not None:
        with store.deciding(verifier.name) as decision:
            if decision.last is not None:
                raise HomeError(f"{verifier.name} was cosigned already, at size {decision.last.size}.")
            decision.keep(begin)
    return added


def _cosigned(known: str, verifier: NoteVerifier) -> Cosigned:
    checkpoint = Checkpoint.from_extended_text(note.open_note(known, [verifier]).text)
    if checkpoint.origin != verifier.name:
        raise ProofError("checkpoint.origin", f"a checkpoint of {checkpoint.origin}")
    return Cosigned(checkpoint.origin, checkpoint.size, checkpoint.root, known, 0)
