"""Execute the code cells of notebooks with IPython, and write their outputs by file as JSON.

Arguments: the output file and the notebooks. It shows what a kernel would, but starts at once in a
process that has imported the libraries.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib import pyplot
from matplotlib_inline.backend_inline import configure_inline_support

INLINE = "module://matplotlib_inline.backend_inline"


def execute(shell, file):
    """Return the outputs of a notebook that runs in a new folder."""
    shell.reset()
    os.chdir(tempfile.mkdtemp())
    cells = nbformat.read(file, as_version=4).cells
    return [run_cell(shell, cell.source) for cell in cells if cell.cell_type == "code"]


def run_cell(shell, source):
    with capture_output() as captured:
        result = shell.run_cell(source)
    value, _ = shell.display_formatter.format(result.result)
    return {
        "stdout": captured.stdout,
        "stderr": captured.stderr,
        "error": repr(result.error_before_exec or result.error_in_exec or ""),
        "displayed": [*(output.data for output in captured.outputs), value],
    }


if __name__ == "__main__":
    interactive_shell = InteractiveShell.instance()
    pyplot.switch_backend(INLINE)
    configure_inline_support(interactive_shell, INLINE)
    target, *files = sys.argv[1:]
    outputs = {file: execute(interactive_shell, file) for file in files}
    Path(target).write_text(json.dumps(outputs, default=repr))
