"""Reading video, and the jobs that a user starts: extract, train, federate, draw."""
