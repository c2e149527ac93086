"""``python -m supertickets``: the command line."""

from supertickets.cli import main

if __name__ == "__main__":
    main()
