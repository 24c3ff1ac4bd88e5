"""Console command as a module: `python -m tagpose COMMAND [OVERRIDE ...]`."""

from tagpose.cli.main import main

if __name__ == "__main__":
    main()
