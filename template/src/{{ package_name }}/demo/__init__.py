"""Shows the project's systems at work: `make demo`."""
