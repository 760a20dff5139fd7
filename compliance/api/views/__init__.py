"""Addresses, by theme."""
