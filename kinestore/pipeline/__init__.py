"""Reading video, and the jobs that a person starts: extract, train, federate, draw."""
