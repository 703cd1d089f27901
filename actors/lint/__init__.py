"""The linter's rules, a file for each part of a channel's settings.

A rule is a function that yields what it finds as :class:`actors.lint.traffic.Found`: the path of a setting inside
the channel's, the name of the rule, and a text that goes on from the path and gives the numbers. It says only what is
certain or, with "on average", what holds in the long run; what is merely unusual is not reported.
"""
