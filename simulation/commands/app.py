"""The console command as typer has it, with the requested commands alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib import import_module
from keyword import iskeyword
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from simulation.commands.names import COMMANDS, Exit, version_line
from simulation.commands.shared import say


class _Commands(TyperGroup):
    """The commands. An interrupted one says so; typer alone ends it without a word.

    And the paragraphs of a command's help are broken where the terminal ends, and not where the docstring's lines do.
    """

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None and command.help is not None:
            command.help = "\n\n".join(" ".join(text.split()) for text in command.help.split("\n\n"))
        return command

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(Exit.INTERRUPTED) from None
        finally:
            logging.getLogger("simulation.scenario.run_size").disabled = False  # by `announce`


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the console command with these of its commands, and import no others."""
    app = typer.Typer(
        cls=_Commands,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="See how your retry, breaker and limiter settings behave in an outage, before the outage does.",
    )
    app.callback(invoke_without_command=True)(retrylab)
    for name in names:
        command = getattr(import_module(COMMANDS[name].module), f"{name}_" if iskeyword(name) else name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def retrylab(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """See how your settings behave in an outage."""
    if version:
        typer.echo(version_line())
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
