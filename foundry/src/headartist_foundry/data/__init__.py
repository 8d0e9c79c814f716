"""What the prior learns from: characters, their captions and pictures."""
