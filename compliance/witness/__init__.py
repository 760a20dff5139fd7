"""A witness for other people's logs: it cosigns what continues what it cosigned before, and nothing else.

Knows no Django and nothing of the product but its formats: a utility or a regulator runs it with one command, without
the product's database. Protocol: https://c2sp.org/tlog-witness.
"""
