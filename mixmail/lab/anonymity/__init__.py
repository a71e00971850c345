"""The anonymity lab: what observers of a network find out, measured with the shipping mixing code."""
