"""The console command with all its commands, for typer's runner."""

from functools import cache

import typer.testing

from simulation.commands.app import application

app = application()

# The runner looks at the signatures of all 20 commands at each call: 65 of the 70 ms that a short one takes.
typer.testing._get_command = cache(typer.testing._get_command)  # type: ignore[attr-defined]
