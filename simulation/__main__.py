"""``python -m simulation`` is the console command, where that is not on the path."""

from simulation.commands.cli import main

if __name__ == "__main__":
    main()
