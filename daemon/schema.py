"""The tables of the journal, and which version of them this classifyd knows."""

VERSION = 7
TABLES_OF_6 = """
CREATE TABLE moves (               -- images that belong elsewhere once they are done
    seq INTEGER PRIMARY KEY,
    row INTEGER NOT NULL,          -- by which one
    source BLOB NOT NULL,
    root INTEGER NOT NULL,         -- how many bytes of it are the folder of all sources
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    folder BLOB NOT NULL,
    beneath INTEGER NOT NULL,      -- how many bytes of it are the folder of all such folders
    name BLOB,                     -- in that folder, once it has begun
    inode INTEGER,                 -- of the source
    back INTEGER NOT NULL,         -- 1: to where it was, under the name that is given
    state INTEGER NOT NULL         -- 0 waits, 1 has begun, 2 is done
);
CREATE TABLE parts (               -- what results.csv was before, a file for each closed month
    name TEXT PRIMARY KEY,
    last INTEGER NOT NULL UNIQUE,  -- the number of its last row
    closed INTEGER NOT NULL        -- 1: the file has that name
);
CREATE TABLE retired (             -- thumbnails of rows up to a number
    upto INTEGER NOT NULL,         -- may be deleted
    deleted INTEGER NOT NULL       -- are
);
INSERT INTO retired VALUES (0, 0);
CREATE INDEX moves_open ON moves (seq) WHERE state < 2;
CREATE INDEX moves_from ON moves (source);
CREATE INDEX moves_of ON moves (row);
"""
TABLES_OF_7 = """
CREATE TABLE deliveries (          -- rows that were made elsewhere, to be published
    seq INTEGER PRIMARY KEY,
    path BLOB NOT NULL,
    root INTEGER NOT NULL,         -- how many bytes of it are the folder it was found in
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    again INTEGER NOT NULL,        -- 1: it could not be read
    cells TEXT NOT NULL            -- the row, as JSON
);
"""
SCHEMA = """
CREATE TABLE arrivals (            -- to be done
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE,     -- the raw bytes of the name
    root INTEGER NOT NULL,         -- how many of them are the watched folder
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    priority INTEGER NOT NULL,     -- a smaller number goes first
    attempt INTEGER NOT NULL,      -- above 0: a user asked to try a failed one again
    seen_at TEXT NOT NULL,
    not_before REAL NOT NULL,      -- seconds since 1970
    anew INTEGER NOT NULL DEFAULT 0,   -- 1: though a row of another model was made
    wanted TEXT NOT NULL DEFAULT ''    -- by this model alone, '' by any
);
CREATE INDEX arrivals_in_order ON arrivals (priority, seq);
CREATE TABLE files (               -- what each file looked like when it was last done
    path BLOB PRIMARY KEY,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    result INTEGER                 -- the row of this content, which need not be the newest one
) WITHOUT ROWID;
CREATE TABLE results (             -- the rows of results.csv, in their order
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    path BLOB NOT NULL,
    sha256 TEXT NOT NULL,
    model TEXT NOT NULL,
    status TEXT NOT NULL,
    label TEXT NOT NULL,
    confidence REAL,
    reason TEXT NOT NULL,
    thumbnail TEXT NOT NULL,
    classified_at TEXT NOT NULL,
    line BLOB NOT NULL,            -- exactly the bytes in results.csv
    crc INTEGER NOT NULL,          -- of the line: SQLite would not notice a flipped bit in it
    -- An id is a digest of path and content: no other row can have it. An index of the ids alone
    -- would be the slowest part of a transaction, as they come in no order.
    UNIQUE (path, sha256, id)
);
CREATE INDEX failures ON results (reason, path) WHERE status = 'failed';
CREATE TABLE tally (               -- of the results, so that nobody has to count a million of them
    day TEXT NOT NULL,             -- when they were classified, UTC
    status TEXT NOT NULL,
    rows INTEGER NOT NULL,
    PRIMARY KEY (day, status)
) WITHOUT ROWID;
CREATE TABLE outbox (synced INTEGER NOT NULL);    -- up to this row, results.csv is on the disk
INSERT INTO outbox VALUES (0);
CREATE TABLE folders (path BLOB PRIMARY KEY, added_at TEXT NOT NULL);    -- backfilled ones
CREATE TABLE ignored (             -- of the last completed scan
    reason TEXT PRIMARY KEY, files INTEGER NOT NULL, example BLOB NOT NULL
);
"""
SCHEMA += TABLES_OF_6 + TABLES_OF_7
# What brings a journal of an older version to the next one.
MIGRATIONS = {
    5: f"ALTER TABLE arrivals ADD COLUMN anew INTEGER NOT NULL DEFAULT 0;{TABLES_OF_6}",
    6: f"ALTER TABLE arrivals ADD COLUMN wanted TEXT NOT NULL DEFAULT '';{TABLES_OF_7}",
}
