"""Pictures: people on a photograph, fields over it, pictures side by side, curves of a run."""
