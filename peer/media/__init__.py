"""Tracks from files and devices, into files, and one track for many readers. Needs no numpy."""
