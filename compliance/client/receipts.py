"""Receipts, kept for ever: what the platform promised about each batch, and the batch itself.

`BATCH.receipt.json` is the receipt as signed, `BATCH.ndjson` the batch as sent; `python -m compliance.proof verify`
reads both. `BATCH.json` says where it went and what was learnt about it since.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compliance.client.home import Home, read_json, write_bytes, write_json
from compliance.proof import receipt as receipts
from compliance.proof.receipt import Receipt


@dataclass(frozen=True, slots=True)
class KeptReceipt:
    """A receipt in the home folder with its note."""

    batch_id: str
    path: Path
    note: Mapping[str, Any]

    def read(self) -> Receipt:
        """The receipt itself."""
        return receipts.read(self.path.read_bytes())


@dataclass(frozen=True, slots=True)
class ReceiptStore:
    """The receipts of a home folder."""

    home: Home

    def keep(self, receipt: Receipt, ndjson: bytes, *, server: str) -> None:
        """Write the receipt and its batch. A receipt that is there already stays as it is."""
        batch_id = receipt.payload["batch"]
        path = self._receipt(batch_id)
        if path.exists():
            return
        write_bytes(self.home.receipts / f"{batch_id}.ndjson", ndjson)
        self.note(batch_id, {"server": server, "log": receipt.payload["log"]})
        write_bytes(path, receipt.envelope.canonical)

    def note(self, batch_id: str, note: Mapping[str, Any]) -> None:
        """Write what is known about a batch beside its receipt."""
        write_json(self.home.receipts / f"{batch_id}.json", note)

    def __iter__(self) -> Iterator[KeptReceipt]:
        for path in sorted(
            self.home.receipts.glob("*.receipt.json"), key=lambda one: (one.stat().st_mtime_ns, one.name)
        ):
            batch_id = path.name.removesuffix(".receipt.json")
            note = self.home.receipts / f"{batch_id}.json"
            yield KeptReceipt(batch_id, path, read_json(note) if note.exists() else {})

    def _receipt(self, batch_id: str) -> Path:
        return self.home.receipts / f"{batch_id}.receipt.json"
