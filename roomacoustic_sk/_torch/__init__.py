"""All that needs torch and is not public: runtime, time blocks, batches, targets, training, base of estimators."""
