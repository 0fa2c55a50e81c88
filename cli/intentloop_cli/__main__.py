"""`python -m intentloop_cli` is `intentloop`."""

from intentloop_cli import main

main()
