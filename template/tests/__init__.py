"""A package, so that none that is installed hides it by its name."""
