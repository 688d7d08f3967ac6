"""`python -m trimtab.cli`: the same as `kubectl-trimtab`."""

from trimtab.cli.commands import main

main(prog_name="kubectl-trimtab")
