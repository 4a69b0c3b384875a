"""One active-learning run: the loop (Algorithm 1), its rounds, labels and oracle, and their verification."""
