"""The tests: a package, so that none of that name that is installed hides it."""
