"""The reference model: the specification as a program that predicts every event of a run, one after the other.

It imports words and settings (messages, outcomes), and nothing of what it is compared with. Numbers in brackets are
sections of the specification, and what is in quotes stands there, if often in more words. What a setting does in detail
stands under its name in the reference of the scenario language (`notebooks/guides/reference.md`). There alone are
`not_before`, `fallback.after`, `endpoints`, `max_elapsed`, `per_outcome`, `per_reason`, `failover`, `switch_after`,
`hedging`, `concurrency_limit`, what `adaptive_rate` and `adaptive_throttle` do, a `wait` for slots, `aging`, a
channel's `redrive`, `commit_latency`, `partition` and more. What neither says is how much is remembered at most, and
how often the product tries by itself: these are constants at the top of the modules.

It has no actors, no supervision and no queues of messages, but it knows who does what: a fault may have one of them
crash, and what is on its way to one that is down waits (`follow`). It does not run by itself. The recording of a run
tells it, thing by thing, what has happened (`simulation/verification/lockstep.py`); of what is due at one instant it
follows the order of the product, and everything else it says beforehand.

To be read in this order, of which the first part takes three quarters of an hour and can be understood by itself:

1. The way of a notification: `loop` (only what stands at its top), `notifications` (one of them, an attempt, and what
   may be in its way), `handler` (from its acceptance to its end), `stage` and `channel` (the way of its attempts),
   `lane` (what stands before a provider).
2. What waits on this way: `gates` (for the limit of its user), `waiting` and `lines` (before the providers), `order`
   and `turns` (who goes next, in a line and of several), `resuming` (at what pace after a breaker).
3. Policies that know of nothing else, each when its settings are of interest: `backoff`, `breakers`, `limits`,
   `adaptive`, `people`, `addresses`, `templates`, `budgets`, `randomness`, `instants`.
4. What comes afterwards: `letters`, `redriving`, `orders` (cancels and redrives).
5. Restarts and crashes: `store` (what is kept, and what a start makes of it), `backlog`, `node`, `processes`.
6. What only some runs have: `hedging` (copies of an attempt), `tenants`, `breaker_groups` (hosts of recipients),
   `accounts` (quotas of several providers), `astray` (messages that come twice or late), `durability`
   (`commit_latency`, and what nodes know of each other only later), `sharing` (what a node of several does besides) and
   `fleet` (which of them gets what, and what they take over).
7. Around it: `world` (what a run is made of, and which runs the model says nothing about), `process` (what the parts of
   a process know of it), `surroundings` (faults and orders), `comparing` (with the product, in lock-step), `model`
   (what comes from outside); and for itself, `providers`: what becomes of an attempt at a simulated provider.

A process is one object, and its class is told in five files, of which each adds to the one before: `Loop`, `Process`,
`Handler`, `Orders`, `Node`; and in `SharingNode` where there are several. They call each other in both directions.

The way of an attempt, in order: the handler asks whether it is wanted now and in time (`prepare`), fills in its
template and charges the retry budget (`send`); a user's limit and then a tenant's let it through or have it wait
(`gates`, `tenants`); before the providers it asks each lane in turn for room (a slot, the quota, the adaptive rate),
for the pace of those that resume, for the breaker and for the throttle (`lane`), and waits in the line of its host
where no lane has all four (`waiting`); the provider answers, or a copy is sent where it is late (`hedging`), and the
handler records what that means: sent, a retry, or a dead letter.
"""
