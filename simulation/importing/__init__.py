"""Retry settings of other libraries, read from the files that a team has (``retrylab import``).

A reader of one library (``celery``, ``istio``, …) makes :class:`Policy` objects of :class:`SourceFile` objects. It runs
no code of the files, and gives each line that it understood a :class:`Mark`; a value that it cannot know is a question.
"""
