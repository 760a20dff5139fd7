"""The sender's side: sign events with your own keys, send them, keep and verify the receipts. Knows no Django.

`python -m compliance.client` is the command line; `Session` is the same for your own programs.
"""

from compliance.client.errors import BadFile, ClientError, Faulty, LineProblem, NotTrusted, Refused, Unreachable
from compliance.client.home import Home
from compliance.client.session import Outcome, Session
from compliance.client.signing import SigningKey

__all__ = [
    "BadFile",
    "ClientError",
    "Faulty",
    "Home",
    "LineProblem",
    "NotTrusted",
    "Outcome",
    "Refused",
    "Session",
    "SigningKey",
    "Unreachable",
]
