"""Floor 5: the Twisted services around the cores: home folder, clock, effects, links, threads, devnet."""
