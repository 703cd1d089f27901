-- The tables of a store's file, each made where it is missing, so that an earlier release's file gets the later tables.
-- Instants are nanoseconds since 1970. The columns of version 3 stay as they are, for the release before: what it can do
-- without, it finds beside them. {half} is nothing for email, sms, push and webhook, and own_ for all other channels,
-- whose rows that release could not read.

-- What has not ended, and dead letters. Their state follows from their history: the event by which they were requested
-- is here, the later ones are in `history`.
CREATE TABLE IF NOT EXISTS {half}notifications (
    seq INTEGER PRIMARY KEY,
    notification_id TEXT NOT NULL UNIQUE,
    command BLOB NOT NULL,
    requested BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS {half}history (
    seq INTEGER PRIMARY KEY,
    notification_id TEXT NOT NULL,
    event BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS {half}history_of_notification ON {half}history (notification_id);

-- Ids of what has ended, with the command that they came with.
CREATE TABLE IF NOT EXISTS {half}remembered (
    seq INTEGER PRIMARY KEY,
    notification_id TEXT NOT NULL UNIQUE,
    ended_ns INTEGER NOT NULL,
    command BLOB NOT NULL,
    ended_as TEXT  -- sent, suppressed, cancelled or discarded; null in rows of the release before
);

-- What people did, and what the dead letter queue discarded by itself: its event, or an entry of its own.
CREATE TABLE IF NOT EXISTS {half}audit (
    seq INTEGER PRIMARY KEY,
    notification_id TEXT,
    at_ns INTEGER NOT NULL,
    entry BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS {half}audit_of_notification ON {half}audit (notification_id);

-- What happened to notifications that have ended since they were redriven or discarded.
CREATE TABLE IF NOT EXISTS {half}closed (
    seq INTEGER PRIMARY KEY,
    notification_id TEXT NOT NULL UNIQUE,
    ended_ns INTEGER NOT NULL,
    command BLOB NOT NULL,
    events BLOB NOT NULL
);

-- Addresses that nothing is sent to, in their normal form.
CREATE TABLE IF NOT EXISTS {half}suppressions (
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,  -- who says so: provider, operator or file
    since_ns INTEGER NOT NULL,
    added_by TEXT,
    PRIMARY KEY (channel, address)
) WITHOUT ROWID;

-- Endpoints of which every attempt fails, and those that are disabled for it; addresses are in their normal form.
CREATE TABLE IF NOT EXISTS {half}endpoints (
    channel TEXT NOT NULL,
    address TEXT NOT NULL,
    endpoint BLOB NOT NULL,
    PRIMARY KEY (channel, address)
) WITHOUT ROWID;

-- What users have set, as JSON; a user's preferences on other channels than the four are in the second half.
CREATE TABLE IF NOT EXISTS {half}preferences (user_id TEXT PRIMARY KEY, preferences TEXT NOT NULL) WITHOUT ROWID;

-- Which notifications are of one request, see `actors.domain.requests`: those that are fallbacks, and what was sent of a
-- request of which there are dead letters still. The second half has its members also where the release before has
-- forgotten them in the first.
CREATE TABLE IF NOT EXISTS {half}requests (
    notification_id TEXT PRIMARY KEY,
    request_id TEXT NOT NULL,  -- the id of the first of them
    delivered INTEGER NOT NULL  -- whether any of them was sent
) WITHOUT ROWID;

-- Which attempts were under way when a process died, see `marks.py`.
CREATE TABLE IF NOT EXISTS {half}marks (
    notification_id TEXT PRIMARY KEY,
    under_way INTEGER NOT NULL,  -- whether an attempt of it is under way
    alone INTEGER NOT NULL,  -- and no other one
    suspicions INTEGER NOT NULL,
    deaths INTEGER NOT NULL
) WITHOUT ROWID;

-- One row while a process has the file; a row found when the file is opened was left by a process that died.
CREATE TABLE IF NOT EXISTS running (since TEXT NOT NULL);

-- What own actors keep, by the name of the actor and a key.
CREATE TABLE IF NOT EXISTS kept (
    actor TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (actor, key)
) WITHOUT ROWID;

-- One row: how long ids have been remembered does not go by the wall clock; see `SqliteStore`.
CREATE TABLE IF NOT EXISTS clock (
    row INTEGER PRIMARY KEY CHECK (row = 1),
    boot_id TEXT NOT NULL,
    anchor_ns INTEGER NOT NULL,  -- what to add to the clock of this boot
    kept_from_seq INTEGER NOT NULL,  -- remembered ids from here ...
    kept_to_seq INTEGER NOT NULL,  -- ... up to here count as ended when the file was first opened in this boot ...
    kept_at_ns INTEGER NOT NULL  -- ... which was then
);
