"""Federation across machines, on Flower: needs the extra `flower`.

Flower carries the messages and knows the clients by their keys. Nothing that comes over the network
is ever run: each side calls the code that is installed there.
"""
