-- node.db, version 2: what goes first when the home is full (docs/protocol/store.md, "Quota").

ALTER TABLE records ADD COLUMN bits INTEGER NOT NULL DEFAULT 0;  -- work that the stamp claims
ALTER TABLE records ADD COLUMN day INTEGER NOT NULL DEFAULT 0;   -- the record's day, at most that of its arrival
ALTER TABLE entries ADD COLUMN bits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entries ADD COLUMN day INTEGER NOT NULL DEFAULT 0;

-- Bytes 97 (type), 99 and 100 (day) and 114 (bits of the stamp), counted from 1.
UPDATE records SET
  bits = 16 * (instr('0123456789ABCDEF', substr(hex(substr(record, 114, 1)), 1, 1)) - 1)
       + instr('0123456789ABCDEF', substr(hex(substr(record, 114, 1)), 2, 1)) - 1,
  day = expiry - class - CASE WHEN substr(record, 97, 1) = x'01' THEN 7 ELSE 0 END;
UPDATE entries SET
  bits = 16 * (instr('0123456789ABCDEF', substr(hex(substr(record, 114, 1)), 1, 1)) - 1)
       + instr('0123456789ABCDEF', substr(hex(substr(record, 114, 1)), 2, 1)) - 1,
  day = expiry - class;

-- The class stands in them so that counting by class reads no records.
CREATE INDEX records_rank ON records (bits, day, class);
CREATE INDEX entries_rank ON entries (bits, day, class);
