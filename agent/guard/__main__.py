"""Run the guard on this device: `python -m agent.guard`."""

from agent.guard.run import main

main()
