"""Links between nodes: messages cut to frames of one size, TLS 1.3 with pinned certificates, and the
Twisted service that opens, keeps and closes the connections.  The only package of the core that
touches the network."""
