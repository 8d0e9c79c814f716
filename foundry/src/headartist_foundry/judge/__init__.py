"""How good the prior is: the gate, samples, and judges that never saw its pictures."""
