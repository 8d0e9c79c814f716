"""How good the prior is: gate, samples and other judges."""
