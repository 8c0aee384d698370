"""Training: batches, losses, optimizers, schedules, the loop, and resuming it."""

from tfbook.training.batches import LengthBatches
from tfbook.training.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint
from tfbook.training.history import History, best_record
from tfbook.training.loop import FitConfig, fit
from tfbook.training.losses import cross_entropy, next_token_loss
from tfbook.training.optimizers import adamw, parameter_groups
from tfbook.training.schedules import inverse_square_root, linear_decay
from tfbook.training.windows import WindowBatches

__all__ = [
    "FitConfig",
    "History",
    "LengthBatches",
    "WindowBatches",
    "adamw",
    "best_record",
    "cross_entropy",
    "fit",
    "inverse_square_root",
    "latest_checkpoint",
    "linear_decay",
    "load_checkpoint",
    "next_token_loss",
    "parameter_groups",
    "save_checkpoint",
]
