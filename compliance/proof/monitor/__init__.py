"""A monitor: follows a log from outside, without account and without trust in who runs it, and keeps what it saw.

`python -m compliance.proof monitor SOURCE --policy TRUST`. Python's own library does the network, so that the folder
`compliance/proof` is enough. The only part of this room that speaks HTTP.
"""
