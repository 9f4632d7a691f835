"""python -m contracts: build, deploy, measure."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="The contracts for development chains.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.command()
def build() -> None:
    """Compile the sources to build/contracts, if they changed."""
    from contracts.build import OUTPUT
    from contracts.build import build as run

    typer.echo(f"{OUTPUT} {'written' if run() else 'is up to date'}")


@app.command()
def deploy(
    rpc: Annotated[str, typer.Option(help="URL of a node")] = "http://127.0.0.1:8545",
    key_file: Annotated[
        Path | None,
        typer.Option(help="file with the payer's key in hex; else the node's first account"),
    ] = None,
    token_account: Annotated[
        list[str] | None,
        typer.Option(help="gets test tokens; may be given often; else all the node's accounts"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write the addresses there as JSON")] = None,
) -> None:
    """Deploy adjudicator, asset holders and a test token; print their addresses as JSON."""
    from eth_account import Account
    from web3 import HTTPProvider, Web3
    from web3.middleware import SignAndSendRawMiddlewareBuilder

    from contracts.deploy import deploy as run

    web3 = Web3(HTTPProvider(rpc))
    if not web3.is_connected():
        raise typer.BadParameter(f"no node answers at {rpc}", param_hint="--rpc")
    sender = None
    if key_file is not None:
        try:
            payer = Account.from_key(key_file.read_text().strip())
        except (OSError, ValueError) as error:
            # Not the error's text, which may show what was in the file
            raise typer.BadParameter("no readable key in it", param_hint="--key-file") from error
        web3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(payer), layer=0)
        sender = payer.address
    elif not web3.eth.accounts:
        raise typer.BadParameter("needed: this node has no accounts", param_hint="--key-file")
    for text in token_account or []:
        if not Web3.is_address(text):
            raise typer.BadParameter(f"{text} is no address", param_hint="--token-account")
    tokens = [Web3.to_checksum_address(text) for text in token_account or []]
    text = run(web3, sender, tokens or None).to_json()
    if out is not None:
        out.write_text(text)
    typer.echo(text, nl=False)


@app.command()
def gas() -> None:
    """Measure what every call costs, on a chain of its own; print JSON."""
    from contracts.gas import measure

    typer.echo(json.dumps(measure(), indent=2))


if __name__ == "__main__":
    app(prog_name="python -m contracts")
