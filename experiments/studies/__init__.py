"""All studies, in the order of their sections in docs/results.md."""

from __future__ import annotations

from experiments.studies.checkpoint_choice import CheckpointChoice
from experiments.studies.edited_responses import EditedResponses
from experiments.studies.embedding_size import EmbeddingSize
from experiments.studies.figures import Figures
from experiments.studies.grid_search import GridSearch
from experiments.studies.held_out import HeldOut
from experiments.studies.intervals import Intervals
from experiments.studies.memorisation import Memorisation
from experiments.studies.number_of_rooms import NumberOfRooms
from experiments.studies.octaves import Octaves
from experiments.studies.plateau import Plateau
from experiments.studies.precision import Precision
from experiments.studies.quickstart import Quickstart, SyntheticQuickstart
from experiments.studies.recording_length import RecordingLength
from experiments.studies.same_numbers import SameNumbers
from experiments.studies.sampling_rates import SamplingRates
from experiments.studies.speech_variety import SpeechVariety
from experiments.studies.table2 import Table2
from experiments.studies.volume import Volume
from experiments.study import Study

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        Table2(),
        SpeechVariety(),
        HeldOut(),
        NumberOfRooms(),
        RecordingLength(),
        EmbeddingSize(),
        Intervals(),
        Volume(),
        Octaves(),
        EditedResponses(),
        CheckpointChoice(),
        Plateau(),
        Memorisation(),
        Precision(),
        SamplingRates(),
        Quickstart(),
        SyntheticQuickstart(),
        GridSearch(),
        Figures(),
        SameNumbers(),
    )
}
