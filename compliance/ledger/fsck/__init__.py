"""`fsck`: every stored byte of the ledger read again and compared with everything that was derived from it.

First the bytes: in the order of the log, a page of batches at a time, each entry and batch is hashed again and each
column beside it compared with what the bytes say (`bytes_pass`). Then the columns, now known to be what the bytes
say, are compared with each other by the database (`relations`). Beside the first runs the published log
(`published`): tiles, bundles, batch files, checkpoints and the signer's memory. Memory does not grow with the log.
"""

from compliance.ledger.fsck.problems import FsckResult, Problem
from compliance.ledger.fsck.run import register_fsck, run

__all__ = ["FsckResult", "Problem", "register_fsck", "run"]
