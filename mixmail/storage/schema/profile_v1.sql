-- profile.db, version 1: everything that belongs to the user.  The whole file is sealed (SQLCipher).
-- Times are unix seconds; days, weeks count from 1970-01-01 UTC; ids are random text unless said otherwise.

CREATE TABLE identities (       -- who the user is
  id TEXT PRIMARY KEY,          -- the address as text
  name TEXT,                    -- shown to those who have the address
  seed BLOB NOT NULL,           -- 32 bytes, from which the identity's keys come
  created REAL NOT NULL,        -- when it was made
  archived INTEGER              -- 1: keeps its mails, is no longer used
);

CREATE TABLE prekeys (          -- secret keys for first messages, one a week
  identity TEXT NOT NULL,       -- whose
  week INTEGER NOT NULL,        -- the week in which it is published
  seed BLOB NOT NULL,           -- X-Wing seed, 32 bytes
  PRIMARY KEY (identity, week)
);

CREATE TABLE inboxes (          -- queues in which strangers leave first messages
  identity TEXT NOT NULL,       -- whose
  salt BLOB NOT NULL,           -- 16 bytes that blind the queue's key
  day INTEGER NOT NULL,         -- when it was opened
  cursor BLOB,                  -- position of the last entry that was read
  PRIMARY KEY (identity, salt)
);

CREATE TABLE profiles_published (  -- which of the own profiles stand in the network
  identity TEXT NOT NULL,       -- whose
  kind INTEGER NOT NULL,        -- sub-kind 0 or 1: two sets of homes
  week INTEGER NOT NULL,        -- for which week
  seq INTEGER NOT NULL,         -- sequence number of the MUTABLE record
  published REAL,               -- when the homes acknowledged it
  PRIMARY KEY (identity, kind, week)
);

CREATE TABLE contacts (         -- whom the user knows
  id TEXT PRIMARY KEY,          -- the contact's address as text
  name TEXT,                    -- the user's name for it
  created REAL NOT NULL,        -- when it was added
  profile BLOB,                 -- the newest profile that was read
  profile_week INTEGER,         -- its week
  last_traffic REAL,            -- when something went or came last: decides how often it is polled
  blocked INTEGER               -- 1: nothing of it is shown
);

CREATE TABLE sessions (         -- conversations: one own stream, one stream to read
  id TEXT PRIMARY KEY,          -- random
  identity TEXT NOT NULL,       -- own side
  contact TEXT,                 -- other side
  role TEXT,                    -- who wrote first
  root BLOB,                    -- secret from the first message
  write_cap BLOB,               -- own stream, at its next index
  read_cap BLOB,                -- the other's stream, at its next index
  own_key_seed BLOB,            -- seed of the own next X-Wing key
  peer_key BLOB,                -- the other's next X-Wing key
  created REAL,                 -- when it began
  last_traffic REAL,            -- when something went or came last
  state TEXT                    -- waiting, unanswered, open
);
CREATE INDEX sessions_contact ON sessions (contact);

CREATE TABLE mails (            -- every mail that is shown; the text stands last, so that lists do not read it
  id TEXT PRIMARY KEY,          -- random
  folder TEXT NOT NULL,         -- inbox, outbox, sent
  identity TEXT,                -- own side
  contact TEXT,                 -- other side, empty if unknown
  contact_name TEXT,            -- its name when the mail was written or came
  subject TEXT,                 -- decoded, one line
  date REAL NOT NULL,           -- when it was written (own) or came
  size INTEGER,                 -- bytes of eml
  unread INTEGER,               -- 1 until it is read
  state TEXT,                   -- outbox: queued, sent, stored ...
  sent_parts INTEGER,           -- boxes that have left at least once
  parts INTEGER,                -- boxes of the mail
  stored_min INTEGER,           -- homes that hold its least held box
  replicas INTEGER,             -- homes that are wanted
  in_reply_to TEXT,             -- id of the mail that it answers
  attachments INTEGER,          -- how many files it carries
  note TEXT,                    -- one sentence about its state
  search_text TEXT,             -- lower case: subject, name and text
  eml BLOB                      -- the message, RFC 5322
);
CREATE INDEX mails_list ON mails (folder, date DESC, id DESC, unread);

CREATE TABLE outgoing (         -- sealed records that wait for their homes
  id TEXT PRIMARY KEY,          -- random
  mail TEXT,                    -- of which mail
  part INTEGER,                 -- its number in the mail
  op INTEGER,                   -- query operation: WRITE or QUEUE_ADD
  record BLOB,                  -- the sealed record: what is sent again after a crash
  acks INTEGER,                 -- homes that acknowledged
  homes INTEGER,                -- homes that are wanted
  state TEXT,                   -- stamping, queued, stored
  tries INTEGER,                -- queries that carried it
  created REAL                  -- when it was sealed
);
CREATE INDEX outgoing_mail ON outgoing (mail);

CREATE TABLE incoming (         -- parts of mails that are not whole yet
  session TEXT NOT NULL,        -- on which session it comes
  message TEXT NOT NULL,        -- id of the mail
  part INTEGER NOT NULL,        -- its number
  parts INTEGER,                -- how many there are
  data BLOB,                    -- the part's bytes
  PRIMARY KEY (session, message, part)
);

CREATE TABLE seen (             -- what was shown already, so that nothing is shown twice
  id TEXT PRIMARY KEY,          -- of the message
  day INTEGER                   -- when; old ones are forgotten
);

CREATE TABLE drafts (           -- mails that are being written
  id TEXT PRIMARY KEY,          -- random
  recipient TEXT,               -- address or name, as typed
  subject TEXT,                 -- as typed
  text TEXT,                    -- as typed
  in_reply_to TEXT,             -- id of the mail that it answers
  saved REAL                    -- when it was saved last
);

CREATE TABLE settings (         -- what the user or the agent wants to keep
  name TEXT PRIMARY KEY,        -- of the setting
  value BLOB                    -- its value, in the form that the setting has
);
