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

To be read in this order:

* The way of a notification: `loop` (its text, for the words in which rules are written), `notifications` (one of them,
  and what the store keeps), `accepting` (what is let in, and becomes durable), `handler` (from there to the end).
* The way of an attempt: `bounds` (of users and tenants), `channel` and `lane` (what stands before a provider, and who
  waits for what), `order` (who goes next), `hedging` (copies of an attempt).
* What comes afterwards: `letters`, `redriving`, `resuming` (at what pace).
* Around it: `world` (what a run is made of, and which runs the model says nothing about), `node` (a process, and how it
  crashes), `fleet` (which of several nodes gets what, and what they take over), `durability` (what they know of each
  other only later), `astray` (messages that come twice or late), `surroundings` (faults and orders), `model` (what
  comes from outside).
* Policies that know of nothing else: `backoff`, `breakers`, `limits`, `adaptive`, `people`, `addresses`, `templates`,
  `randomness`, `instants`.
* And for itself, as the model has it from outside: what becomes of an attempt at a simulated provider (`providers`).

The way of an attempt, in order: the handler asks whether it is wanted now and in time (`prepare`), fills in its
template and charges the retry budget; a user's limit and then a tenant's let it through or have it wait (`bounds`);
before the providers it asks each lane in turn for room (a slot, the quota, the adaptive rate), for the pace of those
that resume, for the throttle and for the breaker, and joins the line of its host where none has all (`channel`); the
provider answers, or a copy is sent where it is late (`hedging`), and the handler records what that means: sent, a
retry, or a dead letter.
"""
