"""The command line. What a command needs is imported when it runs, so that ``--help`` is there at once."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from simulation.commands.compare import compare
from simulation.commands.dlq import dlq
from simulation.commands.explore import explore
from simulation.commands.fit import fit
from simulation.commands.plot import plot
from simulation.commands.replay import replay
from simulation.commands.run import lint, run
from simulation.commands.serve import serve
from simulation.commands.shared import Exit, say
from simulation.commands.sweep import sweep
from simulation.commands.tune import tune
from simulation.commands.validate import validate
from simulation.commands.whatif import whatif


class _Commands(TyperGroup):
    """The commands. Who interrupts one is told that it heard; typer alone ends it without a word.

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


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="See how your retry, breaker and limiter settings behave in an outage, before the outage does.",
)


@app.callback(invoke_without_command=True)
def retrylab(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """See how your settings behave in an outage."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"retrylab {version_of('retrylab')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command()(run)
app.command()(lint)
app.command()(compare)
app.command()(explore)
app.command()(plot)
app.command()(fit)
app.command()(serve)
app.command()(sweep)
app.command()(tune)
app.command()(validate)
app.command()(whatif)
app.add_typer(dlq, name="dlq")
app.command()(replay)


@app.command()
def schema(
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the reference of the scenario language instead, for people.")
    ] = False,
) -> None:
    """Print the JSON Schema of scenario files, for editors and other tools."""
    if as_markdown:
        from simulation.scenario.reference import reference

        typer.echo(reference(), nl=False)
        return
    from simulation.scenario import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def main() -> None:
    """Run the command; what goes wrong is said in a line."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what its encoding cannot show; stderr escapes that anyway
    trouble: OSError | None = None
    try:
        app()
        code: int | str | None = Exit.HOLDS
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED  # before a command was chosen
    except OSError as error:
        trouble = error
    except SystemExit as end:
        code = end.code
        if isinstance(end.__context__, BrokenPipeError):
            trouble = end.__context__  # of which typer makes a 1, which is what an expectation that does not hold is
    # Python itself would flush at exit, too late to say what came of it.
    trouble = _flush(sys.stdout) or trouble
    if trouble is not None:
        code = Exit.NOBODY_READS if isinstance(trouble, BrokenPipeError) else Exit.BAD_INPUT
        if code == Exit.BAD_INPUT:
            with suppress(OSError):  # that cannot be said either
                say(f"{trouble.filename or 'output'}: {trouble.strerror}")
    if isinstance(_flush(sys.stderr), BrokenPipeError):
        code = Exit.NOBODY_READS
    sys.exit(code)


def _flush(stream: TextIO | None) -> OSError | None:
    """Return why what was written cannot go where it should; it then goes nowhere."""
    if stream is None:  # it was closed from the start
        return None
    try:
        stream.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return error
    return None
