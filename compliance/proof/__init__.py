"""Formats and proofs of Meterproof, without Django: what a stranger needs to check the log, its batches and reports.

`python -m compliance.proof verify FILE --policy TRUST` is the offline verifier. Each module answers to one text: RFC
6962, RFC 8785, RFC 3161, DSSE, a C2SP page, or the format description in `docs/formats/README.md`.
"""
