"""What `make update` runs; it is the template's, and kept current by updates."""
