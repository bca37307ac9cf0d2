"""Jobs of a federation across machines: the server's, and a client's."""
