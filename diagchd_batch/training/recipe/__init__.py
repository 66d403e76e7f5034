"""How one fold is trained: the order of batches, losses, learning rates, the choice of the best epoch, and the loop."""
