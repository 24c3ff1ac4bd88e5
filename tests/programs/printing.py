"""Print text, progress bars and a table, then write a result file."""

import sys
from pathlib import Path

from rich.progress import Progress
from rich.table import Table
from tqdm import tqdm

from tagpose.cli.console import print_tables, tolerate_output_errors


def main(file):
    tolerate_output_errors()
    for number in tqdm(range(3), desc="Zürich ✓"):
        print("║ ✓ 你好", number, flush=True)
    print("x" * 100_000)
    print("╸━", file=sys.stderr)
    with Progress() as progress:
        for _ in progress.track(range(3), description="━ epoch"):
            pass
    print_tables(Table("part", title="━ [bold]a[/] :smile: [/b]"))
    sys.stdout.write("no newline ✓")
    Path(file).write_text("the result")


if __name__ == "__main__":
    main(sys.argv[1])
