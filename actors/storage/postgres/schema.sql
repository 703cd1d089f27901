-- The tables of a store in PostgreSQL, all in a schema of their own, `retrylab` unless another one is named. Instants are
-- nanoseconds since 1970, by the clock of the node that writes; leases alone are by the clock of the database. Blobs are
-- msgpack, see `actors.domain.codec`.
--
-- The sections are made once each, in this order. A version takes a schema from the one before to itself, and may be one
-- that the release before cannot bear. An addition is a table, an index or a column with a default that the release
-- before does not need: it raises no version, so that the release before starts beside this one, and a fleet is upgraded
-- node by node. `schema_versions` and `schema_additions` say which have been made, and when.

-- version 1
CREATE SEQUENCE tokens;
CREATE SEQUENCE batches;
-- Every notification that is known, by its id: the one place that decides whether an id is new. `state`: open, dead (a
-- dead letter), or ended (only its id is remembered). `owner`: the token of the node that has it while it is open; else
-- null. `seq`: orders acceptances and the rows of `history`. `at_ns`: when the state began. `command`: as it was
-- accepted. `requested`: the event of its acceptance. `via`: the take-over by which its owner got it; 0: it was accepted
-- or redriven there.
CREATE TABLE notifications (
    notification_id text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'dead', 'ended')),
    owner bigint CHECK ((owner IS NOT NULL) = (state = 'open')),
    via bigint NOT NULL DEFAULT 0,
    at_ns bigint NOT NULL,
    command bytea NOT NULL,
    requested bytea NOT NULL
);
CREATE INDEX notifications_of_owner ON notifications (owner) WHERE state = 'open';
CREATE INDEX notifications_dead ON notifications (at_ns) WHERE state = 'dead';
CREATE INDEX notifications_ended ON notifications (at_ns) WHERE state = 'ended';
-- Later events of open notifications and dead letters.
CREATE TABLE history (
    notification_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    event bytea NOT NULL,
    PRIMARY KEY (notification_id, seq)
);
-- Suppressed addresses, and preferences of users. `kind`: the channel, or `user`. `digest`: SHA-256 of the name, which
-- may be longer than a key may be. `name`: the address, or the user id, in UTF-8. `value`: msgpack of the suppression, or
-- JSON of the preferences. `told`: a provider has said that the address is gone, and a redrive lifts that.
CREATE TABLE settings (
    kind text NOT NULL,
    digest bytea NOT NULL,
    name bytea NOT NULL,
    value bytea NOT NULL,
    told boolean NOT NULL,
    PRIMARY KEY (kind, digest)
);
-- Actions of operators, and discards by the dead letter queue itself. `notification_id`: null for an action on something
-- else.
CREATE TABLE audit (
    seq bigint PRIMARY KEY,
    notification_id text COLLATE "C",
    at_ns bigint NOT NULL,
    entry bytea NOT NULL
);
CREATE INDEX audit_of_notification ON audit (notification_id);
CREATE INDEX audit_by_age ON audit (at_ns);
-- Histories of notifications that ended after a redrive or a discard.
CREATE TABLE closed (
    notification_id text COLLATE "C" PRIMARY KEY,
    ended_ns bigint NOT NULL,
    command bytea NOT NULL,
    events bytea NOT NULL
);
CREATE INDEX closed_by_age ON closed (ended_ns);
-- The nodes of this store. `token`: the fencing token, larger for every later opening. `gone`: the node has ended, or
-- another node has found its lease over, and its notifications may be taken over. `batch`: the number of its last
-- transaction, so that a transaction whose answer was lost is not made twice. `seen`: the node has seen `changes` by all
-- transactions before this one.
CREATE TABLE nodes (
    token bigint PRIMARY KEY,
    name text NOT NULL,
    lease_until timestamptz NOT NULL,
    gone boolean NOT NULL DEFAULT false,
    batch bigint NOT NULL DEFAULT 0,
    seen xid8 NOT NULL
) WITH (fillfactor = 50);
-- Which dead letters and settings have changed, until every node has seen it: `xid` and `token` of the transaction and
-- the node, and `notification_id`, or `kind` and `name`.
CREATE TABLE changes (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    token bigint NOT NULL,
    notification_id text COLLATE "C",
    kind text,
    name bytea
);
CREATE INDEX changes_by_xid ON changes (xid);

-- addition 1
-- Attempts under way of notifications taken over, see `marks.py`.
CREATE TABLE IF NOT EXISTS marks (
    notification_id text COLLATE "C" PRIMARY KEY,
    under_way boolean NOT NULL,  -- whether an attempt of it is under way at its owner
    alone boolean NOT NULL,  -- and no other one is there
    suspicions int NOT NULL,
    deaths int NOT NULL
);

-- addition 2
-- `request_id`: for a fallback, the first notification of its chain. `served`: a notification of this request was
-- delivered (`actors.domain.requests`); `state` shows those under way.
ALTER TABLE notifications ADD COLUMN IF NOT EXISTS request_id text COLLATE "C";
ALTER TABLE notifications ADD COLUMN IF NOT EXISTS served boolean NOT NULL DEFAULT false;
CREATE INDEX IF NOT EXISTS notifications_of_request ON notifications (request_id) WHERE request_id IS NOT NULL;

-- addition 3
-- How it ended: sent, suppressed, cancelled or discarded; null in rows of the release before.
ALTER TABLE notifications ADD COLUMN IF NOT EXISTS ended_as text;

-- addition 4
-- The nodes' votes on the breakers that they share. `name`: the breaker's, a line break, and the host where each has one,
-- in UTF-8. `digest`: SHA-256 of it. `until`: it is open until then, by the database's clock. `xid`: of the transaction
-- that wrote it last.
CREATE TABLE IF NOT EXISTS breaker_votes (
    token bigint NOT NULL,
    digest bytea NOT NULL,
    name bytea NOT NULL,
    until timestamptz NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (token, digest)
);
CREATE INDEX IF NOT EXISTS breaker_votes_by_xid ON breaker_votes (xid);

-- addition 5
-- Endpoints of which every attempt fails, as `settings`, in which the release before would take them for addresses.
-- `changes.endpoint`: the channel of a changed endpoint, whose address is the name.
CREATE TABLE IF NOT EXISTS endpoints (LIKE settings INCLUDING ALL);
ALTER TABLE changes ADD COLUMN IF NOT EXISTS endpoint text;

-- addition 6
-- For people, the process and its start; null in rows of the release before. `can_be_asked`: the node drains and ends
-- when another has set `asked_by`.
ALTER TABLE nodes ADD COLUMN IF NOT EXISTS process text;
ALTER TABLE nodes ADD COLUMN IF NOT EXISTS since timestamptz;
ALTER TABLE nodes ADD COLUMN IF NOT EXISTS can_be_asked boolean NOT NULL DEFAULT false;
ALTER TABLE nodes ADD COLUMN IF NOT EXISTS asked_by text;

-- addition 7
-- The same tables for channels beside the four, which the release before does not see, see `halves.py`. In `kind`, own/
-- is before the name of such a channel. `knows_others`: the node reads these tables.
CREATE TABLE IF NOT EXISTS own_notifications (LIKE notifications INCLUDING ALL);
CREATE TABLE IF NOT EXISTS own_history (LIKE history INCLUDING ALL);
CREATE TABLE IF NOT EXISTS own_settings (LIKE settings INCLUDING ALL);
CREATE TABLE IF NOT EXISTS own_endpoints (LIKE endpoints INCLUDING ALL);
CREATE TABLE IF NOT EXISTS own_audit (LIKE audit INCLUDING ALL);
CREATE TABLE IF NOT EXISTS own_closed (LIKE closed INCLUDING ALL);
CREATE TABLE IF NOT EXISTS own_marks (LIKE marks INCLUDING ALL);
CREATE TABLE IF NOT EXISTS own_changes (LIKE changes INCLUDING ALL);
CREATE TABLE IF NOT EXISTS own_breaker_votes (LIKE breaker_votes INCLUDING ALL);
CREATE OR REPLACE VIEW every_notification AS
    SELECT notification_id, request_id, state FROM notifications
    UNION ALL SELECT notification_id, request_id, state FROM own_notifications;
ALTER TABLE nodes ADD COLUMN IF NOT EXISTS knows_others boolean NOT NULL DEFAULT false;

-- addition 8
-- Values that own actors keep, in JSON, by the node's name, the actor and a key.
CREATE TABLE IF NOT EXISTS kept (
    node text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (node, actor, key)
);
