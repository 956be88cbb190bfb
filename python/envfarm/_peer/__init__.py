"""What runs in the peer's own Python, which has BrowserGym and not this package, and how to speak to it."""
