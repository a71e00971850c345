"""The command line: a thin client of the daemon for people and scripts, and the one place that starts
the daemon, the terminal UI and the private network."""
