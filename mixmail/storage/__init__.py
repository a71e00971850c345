"""What a node keeps on disk: `node.db` (other people's records) in plain SQLite, `profile.db` (the
user's keys and mails) in SQLCipher, and the file with the profile's key.  Each database belongs to one
thread."""
