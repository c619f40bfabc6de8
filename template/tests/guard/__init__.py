"""The async guard: fails the test in which an async defect happens."""
