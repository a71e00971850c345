"""Floor 4a: the user's side of a node, sans-IO.

One query leaves in every send slot, real or cover; `schedule` says when and of which kind, `outbox`
and `fetcher` say what, `queries` wraps it for the way through the mixes and reads the answer.
"""
