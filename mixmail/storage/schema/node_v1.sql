-- node.db, version 1: what a home keeps for other people (docs/protocol/boxes.md, "Records").

CREATE TABLE records (          -- one BOX, TOMBSTONE or MUTABLE record a key
  key BLOB PRIMARY KEY,         -- 32 bytes: box id or blinded public key
  class INTEGER NOT NULL,       -- storage class in days
  expiry INTEGER NOT NULL,      -- last day (since 1970-01-01 UTC) on which it is kept
  record BLOB NOT NULL          -- the packed record, 17,334 bytes
);
CREATE INDEX records_expiry ON records (expiry);

CREATE TABLE entries (          -- QUEUE entries
  queue BLOB NOT NULL,          -- 32 bytes: the queue's blinded public key
  position BLOB NOT NULL,       -- 32 bytes: sorts by most work, then by id
  id BLOB NOT NULL,             -- 32 bytes: the entry's id
  class INTEGER NOT NULL,       -- storage class in days
  expiry INTEGER NOT NULL,      -- last day on which it is kept
  record BLOB NOT NULL,         -- the packed record, 17,334 bytes
  PRIMARY KEY (queue, position)
);
CREATE UNIQUE INDEX entries_id ON entries (queue, id);
CREATE INDEX entries_expiry ON entries (expiry);

CREATE TABLE deleted (          -- entries that their owner deleted: they do not come back before their expiry
  queue BLOB NOT NULL,          -- 32 bytes
  id BLOB NOT NULL,             -- 32 bytes
  expiry INTEGER NOT NULL,      -- last day on which the entry would have been kept
  PRIMARY KEY (queue, id)
);
CREATE INDEX deleted_expiry ON deleted (expiry);
