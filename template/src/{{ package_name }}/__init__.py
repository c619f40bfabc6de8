"""The project's package: what other code imports starts here."""
