"""python -m goperun: build the nodes, write Perun's contracts."""

import os
from typing import Annotated

import typer
from contracts.toolchain import MissingProgram

app = typer.Typer(
    help="go-perun nodes for tests.", no_args_is_help=True, pretty_exceptions_show_locals=False
)


@app.command()
def build(
    optional: Annotated[bool, typer.Option(help="without Go, only say so (unless CI is set)")] = (
        False
    ),
) -> None:
    """Build the nodes into build/interop, if their sources changed: a few minutes at first."""
    from goperun.build import PROGRAMS, BuildError, program

    try:
        for generation in PROGRAMS:
            program(generation)
    except BuildError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    except MissingProgram as error:
        typer.echo(f"interop tests are left out: {error}", err=True)
        raise typer.Exit(0 if optional and not os.environ.get("CI") else 1) from None


@app.command()
def artifacts() -> None:
    """Write Perun's own contracts to build/contracts-perun, in the form of build/contracts."""
    from goperun.artifacts import folder

    typer.echo(folder())


if __name__ == "__main__":
    app(prog_name="python -m goperun")
