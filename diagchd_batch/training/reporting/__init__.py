"""What a training shows of itself: its page, and events for TensorBoard."""
