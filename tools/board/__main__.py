"""`python -m board`."""

from board.cli import main

main()
