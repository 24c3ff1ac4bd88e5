"""The LightningModule, optimizers, loggers and checkpoint files."""
