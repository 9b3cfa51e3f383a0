"""Simulated rooms, measured responses, dry speech, and reverberant speech made from them."""

from roomacoustic_sk._shoebox.responses import Hybrid, ImageSources
from roomacoustic_sk.datasets._augmented import augment_clips, augment_responses
from roomacoustic_sk.datasets._bunches import concatenate, split_by_speaker, take
from roomacoustic_sk.datasets._librispeech import fetch_librispeech
from roomacoustic_sk.datasets._measured import load_measured_rirs
from roomacoustic_sk.datasets._reading import read_audio
from roomacoustic_sk.datasets._recordings import load_recordings
from roomacoustic_sk.datasets._reverberant import make_reverberant_speech
from roomacoustic_sk.datasets._rooms import simulate_rooms
from roomacoustic_sk.datasets._speech import load_speech
from roomacoustic_sk.datasets._synthetic_speech import make_speech

__all__ = [
    "Hybrid",
    "ImageSources",
    "augment_clips",
    "augment_responses",
    "concatenate",
    "fetch_librispeech",
    "load_measured_rirs",
    "load_recordings",
    "load_speech",
    "make_reverberant_speech",
    "make_speech",
    "read_audio",
    "simulate_rooms",
    "split_by_speaker",
    "take",
]
