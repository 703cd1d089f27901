"""The reference model: the specification as a program that predicts every event of a run, one after the other.

It has no actors and sends no messages. It imports words and settings (messages, outcomes, instants), and nothing of
what it is compared with. Numbers in brackets are sections of the specification, and what is in quotes stands there, if
often in more words.

To be read in this order: `world` (what a run is made of, and which runs it says nothing about), `notifications` (one of
them, and what the store keeps), `handler` (from acceptance to the end), `channel` and `lane` (what stands before a
provider, and who waits for what), `letters`, `resuming`, `node` (a process, and how it crashes), `fleet` (which of
several nodes gets what, and what they take over), `surroundings` (faults and orders), `model` (what comes from
outside), `loop` (time, and the comparison). The policies are by themselves: `backoff`, `limits`,
`breakers`, `adaptive`, `quiet_hours`, `people`, `templates`, `randomness`.
"""
