"""The console in a real browser, and a plant for it to show."""
