"""Verification of a store: every part is hashed and read, and a repair removes what is broken."""
