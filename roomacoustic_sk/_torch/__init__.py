"""Private code that needs torch: runtime, time blocks, batches, targets, training, base classes of estimators."""
