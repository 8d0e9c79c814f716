"""What the shipped prior hears of a prompt: the words it was taught, and what is said not to be there."""
