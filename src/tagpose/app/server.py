"""Web server of the app."""

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

from tagpose.app.event_handlers import EventHandlers
from tagpose.app.event_listeners import add_event_listeners
from tagpose.app.layout import build_layout, make_theme
from tagpose.app.settings import ViewerSettings
from tagpose.app.video_processor import VideoProcessor
from tagpose.app.viewer import PoseViewer

_CSS: Final = Path(__file__).with_name("app.css")
_MAX_QUEUE: Final = 64  # waiting requests; further ones are rejected
_MAX_SESSIONS: Final = 1000  # sessions with gradio state
_CLEANUP_INTERVAL: Final = 60  # seconds between deletions of old files


def serve(
    viewer: PoseViewer,
    videos: VideoProcessor,
    start: ViewerSettings,
    *,
    host: str,
    port: int | None,
    max_upload: float,
) -> None:
    """Serve the app until Ctrl-C or SIGTERM, then delete all of its files.

    Args:
        viewer: viewer that processes images.
        videos: processor of videos.
        start: initial settings of the page.
        host: address to listen on; loopback addresses only accept connections of this machine.
        port: port to listen on; None uses the first free one from 7860 on.
        max_upload: maximum size of an upload in MB.

    Raises:
        OSError: the host or port is not available.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # hides gradio's request to itself
    old_handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _temporary_folder() as folder:
            handlers = EventHandlers(viewer, videos, start.output, folder)
            app = _build_app(handlers, start)
            _launch(app, host, port, max_upload)
            print(f"Serving at {app.local_url}", flush=True)
            try:
                Event().wait()
            finally:  # before the folder is deleted
                handlers.jobs.close()
                app.close(verbose=False)
    except KeyboardInterrupt:
        print("Stopped.")
    finally:
        signal.signal(signal.SIGTERM, old_handler)


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """Create gradio's folder, readable by this user only, and delete it at the end."""
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    folder.mkdir(mode=0o700)
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder)


def _build_app(handlers: EventHandlers, start: ViewerSettings) -> gr.Blocks:
    """Return the app with its layout and handlers."""
    max_age = int(handlers.viewer.cache.max_idle_seconds)
    with gr.Blocks(
        title="tagpose", analytics_enabled=False, delete_cache=(_CLEANUP_INTERVAL, max_age)
    ) as app:
        page = build_layout(handlers.viewer, start, smooth=handlers.videos.options.smooth)
        add_event_listeners(handlers, page)
        app.unload(handlers.close_session)
    return app.queue(api_open=False, max_size=_MAX_QUEUE)


def _launch(app: gr.Blocks, host: str, port: int | None, max_upload: float) -> None:
    """Start the server without share link, API documentation or history of runs."""
    try:
        app.launch(
            server_name=host,
            server_port=port,
            max_file_size=f"{max_upload:g}mb",
            theme=make_theme(),
            css_paths=_CSS,
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
            f"cannot listen on port {port} of host {host}, which must be a free port and an "
            "address of this machine; use port=null to select a free port"
        ) from error
