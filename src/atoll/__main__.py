"""Runs the command line: `python -m atoll`."""

from atoll.app.main import main

if __name__ == "__main__":
    main()
