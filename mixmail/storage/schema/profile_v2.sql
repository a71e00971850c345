-- Requests: people who wrote first and about whom the user has not yet decided.
ALTER TABLE contacts ADD COLUMN request INTEGER NOT NULL DEFAULT 0; -- 1: a stranger; its mails stand in "requests"
