"""Floor 3: people and what they write. Identities, addresses, profiles, the first message to a stranger, the
parts of a mail in boxes, and the mail itself."""
