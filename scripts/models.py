"""The same as `tagpose models`."""

from tagpose.cli.main import run_script

if __name__ == "__main__":
    run_script(__file__)
