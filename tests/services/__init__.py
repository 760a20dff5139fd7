"""Real servers that tests start on loopback and end by pid. Nothing that runs on the machine already is touched."""
