"""`python -m provisioning.cli` is `privet-fleet`."""

from provisioning.cli.main import main

main()
