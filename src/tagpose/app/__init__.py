"""Gradio app that shows the poses in images and videos and lets users try thresholds."""

import os
import secrets
import tempfile
from pathlib import Path

# gradio reads both variables on import.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# By default, uploads would stay forever in a folder that all users can read.
os.environ["GRADIO_TEMP_DIR"] = str(Path(tempfile.gettempdir()) / f"tagpose-{secrets.token_hex(8)}")
