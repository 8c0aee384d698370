"""The commands of ``python -m tfbook``, one module each: its options, and what it does."""
