"""Studio: a local page in which a scenario is changed, and run while one looks; needs the extra ``studio``.

The text of the scenario in the page is the one truth. The server keeps nothing but a token and warm worker processes.
"""
