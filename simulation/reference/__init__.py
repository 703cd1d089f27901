"""The reference model: the specification as a program that predicts every event of a run, one after the other.

It imports words and settings (messages, outcomes), and nothing of what it is compared with. Numbers in brackets are
sections of the specification, and what is in quotes stands there, if often in more words. What the specification does
not say, and what a setting does in detail, stands in the reference of the scenario language under the name of the
setting (`notebooks/guides/reference.md`). What neither says is how much is remembered at most, and how often the
product tries by itself: these are constants at the top of the modules.

It has no actors, no supervision and no queues of messages, but it knows who does what: a fault may have one of them
crash, and what is on its way to one that is down waits (`follow`). It does not run by itself. The recording of a run
tells it, thing by thing, what has happened (`simulation/invariants/lockstep.py`); of what is due at one instant it
follows the order of the product, and everything else it says beforehand.

To be read in this order, of which the first part takes half an hour and needs nothing of the others:

1. The way of a notification: `loop` (its text, for the words in which rules are written), `notifications` (one of them,
   and an attempt), `handler` (from its acceptance to its end), `stage` and `channel` (the way of its attempts), `lane`
   (what stands before a provider).
2. What waits on this way: `gates` (for the limit of its user), `waiting` and `lines` (before the providers), `order`
   (who goes next), `resuming` (at what pace after a breaker).
3. Policies that know of nothing else, each when its settings are of interest: `backoff`, `breakers`, `limits`,
   `adaptive`, `people`, `addresses`, `templates`, `budgets`, `randomness`, `instants`.
4. What comes afterwards: `letters`, `redriving`, `orders` (cancels and redrives).
5. Restarts and crashes: `store` (what is kept, and what a start makes of it), `backlog`, `node`, `processes`.
6. What only some runs have: `hedging` (copies of an attempt), `tenants`, `turns` and `breaker_groups` (hosts of
   recipients), `accounts` (quotas of several providers), `astray` (messages that come twice or late), `durability`
   (`commit_latency`, and what nodes know of each other only later), `sharing` (what a node of several does besides) and
   `fleet` (which of them gets what, and what they take over).
7. Around it: `world` (what a run is made of, and which runs the model says nothing about), `process` (what the parts of
   a process know of it), `asking` (how a provider is asked), `surroundings` (faults and orders), `comparing` (with the
   product, in lock-step), `model` (what comes from outside).
8. And for itself, as the model has it from outside: what becomes of an attempt at a simulated provider (`providers`).

A process is one object, whose rules are told in layers, each a class that begins where the one before ends: `Loop`,
`Process`, `Asking`, `Handler`, `Orders`, `Node`, and `SharingNode` where there are several.

The way of an attempt, in order: the handler asks whether it is wanted now and in time (`prepare`), fills in its
template and charges the retry budget (`send`); a user's limit and then a tenant's let it through or have it wait
(`gates`, `tenants`); before the providers it asks each lane in turn for room (a slot, the quota, the adaptive rate),
for the pace of those that resume, for the breaker and for the throttle (`lane`), and joins the line of its host where
none has all (`waiting`); the provider answers, or a copy is sent where it is late (`hedging`), and the handler records
what that means: sent, a retry, or a dead letter.
"""
