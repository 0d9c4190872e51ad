"""Recordings and annotations become data sets here; soundscapes are simulated here."""
