"""The console command with all its commands, for typer's runner."""

from simulation.commands.app import application

app = application()
