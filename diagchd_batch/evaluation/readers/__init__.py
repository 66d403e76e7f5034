"""The readers: their reads, agreement, majority and mean, and the model against them."""
