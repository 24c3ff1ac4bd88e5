"""This file serves the page until it is stopped."""

import logging
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Final

import gradio as gr

from tagpose.app.events import EventHandlers, connect_events
from tagpose.app.layout import build_layout
from tagpose.app.viewer import PoseViewer, Thresholds

_STYLE: Final = Path(__file__).with_name("app.css")
_MAX_QUEUE: Final = 64  # requests in line; whoever comes after them is told to come back
_MAX_SESSIONS: Final = 1000  # of whom gradio remembers the state of their page
_CLEANUP_INTERVAL: Final = 60  # seconds after which old files are cached for
# those of the reader's machine, as others would be fetched
_FONT: Final = ("system-ui", "sans-serif")
_MONOSPACE: Final = ("ui-monospace", "monospace")


def serve(
    viewer: PoseViewer, start: Thresholds, *, host: str, port: int | None, max_upload: float
) -> None:
    """Serve the page until Ctrl-C or SIGTERM; then nothing of it is left on the disk.

    Args:
        viewer: that looks at pictures.
        start: the thresholds at first.
        host: address to listen on; a loopback one is reached from this machine alone.
        port: to listen on; None for the first free one from 7860 on.
        max_upload: MB that a file may have.

    Raises:
        OSError: nobody can listen there.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio asks itself whether it is there
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _folder() as folder:
            app = _build_app(viewer, start, folder)
            _launch(app, host, port, max_upload)
            print(f"page: {app.local_url}", flush=True)
            try:
                Event().wait()
            finally:
                app.close(verbose=False)  # before its folder goes
    except KeyboardInterrupt:
        print("stopped")
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _folder() -> Iterator[str]:
    """The folder of gradio's files, for nobody else to read, and not for longer than the page."""
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    folder.mkdir(mode=0o700)
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder)


def _build_app(viewer: PoseViewer, start: Thresholds, folder: str) -> gr.Blocks:
    """The page with its events."""
    age, events = int(viewer.cache.max_idle_seconds), EventHandlers(viewer, folder)
    with gr.Blocks(
        title="tagpose", analytics_enabled=False, delete_cache=(_CLEANUP_INTERVAL, age)
    ) as app:
        connect_events(events, build_layout(viewer, start))
        app.unload(events.close_session)
    return app.queue(api_open=False, max_size=_MAX_QUEUE)


def _launch(app: gr.Blocks, host: str, port: int | None, max_upload: float) -> None:
    """Start to listen: no link for others, no documentation of an API, no history of pictures."""
    try:
        app.launch(
            server_name=host,
            server_port=port,
            max_file_size=f"{max_upload:g}mb",
            theme=_theme(),
            css_paths=_STYLE,
            state_session_capacity=_MAX_SESSIONS,
            footer_links=[],
            app_kwargs={"openapi_url": None},
            share=False,
            show_error=False,
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            pwa=False,
            inline=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise OSError(
            f"nobody can listen on port {port} of {host}; is it this machine, no other page "
            "there? port=null takes a port that is free"
        ) from error


def _theme() -> gr.themes.Base:
    """The look of the page, with small print that is read by everybody."""
    theme = gr.themes.Default(primary_hue="blue", font=_FONT, font_mono=_MONOSPACE)
    return theme.set(
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
        block_label_text_color="*neutral_700",
    )
