"""What `kinestore` can be told to do; each command imports its job when it runs."""
