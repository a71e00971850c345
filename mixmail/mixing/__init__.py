"""Floor 2: how long a mix keeps a packet and what it refuses: delay laws, ticks, delay pools and the
replay filter (docs/protocol/mixing.md).  Nothing here knows what a packet is made of."""
