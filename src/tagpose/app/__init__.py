"""A page in the browser: a picture in, its people drawn, and thresholds to try."""

import os
import secrets
import tempfile
from pathlib import Path

# gradio reads both when it is imported
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# by default pictures would lie for good in a folder of everybody
os.environ["GRADIO_TEMP_DIR"] = str(Path(tempfile.gettempdir()) / f"tagpose-{secrets.token_hex(8)}")
