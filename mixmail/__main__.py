"""`python -m mixmail`: the command line."""

from __future__ import annotations

from mixmail.cli.main import main

if __name__ == "__main__":
    main()
