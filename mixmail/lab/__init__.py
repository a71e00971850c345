"""Beside the floors: whole networks on a virtual clock, with the code that ships (floors 0-4a).

Own scheduler, injected loss, delay and crashes, an event trace, and the figures of the labs.
"""
