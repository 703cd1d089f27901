"""The linter: settings that cannot do what they say, as warnings that give the numbers.

Settings can each be valid and still not go together: a timeout below what the provider usually takes, a breaker that
looks at a rate over more calls than there are. The loader accepts them, as they may be wanted for an experiment; the
linter says beforehand what they lead to. It draws nothing and runs nothing: a finding follows from the settings and,
where it is known, from the rate of arrivals. It says only what is certain or, with "on average", what holds in the long
run; what is merely unusual is not reported. A live service has fewer findings, as its arrivals are not known.
"""
