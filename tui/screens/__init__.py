"""One screen a module: the main one, compose, the address book, and the small ones on top."""
