"""Data sets in, models and honest figures out. See `05_train.ipynb`; nothing heavy is imported here."""
