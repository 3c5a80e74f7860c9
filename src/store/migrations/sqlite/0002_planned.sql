-- How many of a call's callbacks were there when it was last settled. Those of calls at rest were.
ALTER TABLE call ADD COLUMN planned INTEGER NOT NULL DEFAULT 0;
UPDATE call SET planned = callbacks WHERE state <> 'pending';

-- Calls that were claimed when it became known that they are a part of another, which takes them
-- over once they are settled, or once the claim has ended with the process.
CREATE TABLE joining (
    begun INTEGER PRIMARY KEY,
    call  INTEGER NOT NULL
) STRICT;

PRAGMA user_version = 2;
