"""Pictures of frames, labels and predictions: painting, and sheets of clips."""
