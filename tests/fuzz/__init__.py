"""Random input against every reader of bytes from outside: `./run fuzz`."""
