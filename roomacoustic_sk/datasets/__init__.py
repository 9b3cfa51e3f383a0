"""Simulated rooms, measured responses, speech, and reverberant speech made of both."""
