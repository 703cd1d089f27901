"""Retry settings of other libraries, read from the files that a team has (``retrylab import``).

A reader of one library (``celery``, ``istio``, …) makes :class:`Policy` objects of :class:`SourceFile` objects. It runs
nothing of what it reads, and gives each line that it understood a :class:`Mark`; what it cannot know it asks for.
"""
