"""`python -m demo`."""

from demo.cli import app

app(prog_name="demo")
