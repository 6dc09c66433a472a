"""``python -m fedstrata`` is the command line."""

from fedstrata.cli.main import main

if __name__ == "__main__":
    main()
