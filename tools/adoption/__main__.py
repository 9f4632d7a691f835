"""`python -m adoption`."""

from adoption.cli import app

app(prog_name="adoption")
