"""Under joblib's dask backend, results are those of one process to the last bit, also if a worker is killed."""

from __future__ import annotations

import os
import signal
import threading
import time

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from toys import ENCODER, write_audio

from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor, estimate_room
from roomacoustic_sk.datasets import make_reverberant_speech, make_speech, simulate_rooms

distributed = pytest.importorskip("distributed")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # dask's own


@pytest.fixture
def client(tmp_path):
    """A cluster of two processes with a thread each, new for each test: a killed worker may take long to come back."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


class WorkerKiller(threading.Thread):
    """Kills a worker as soon as it is at work."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.killed = client, None

    def run(self):
        pids = self.client.run(os.getpid)
        deadline = time.monotonic() + 60
        while self.killed is None and time.monotonic() < deadline:
            busy = [address for address, tasks in self.client.processing().items() if tasks and address in pids]
            if busy:
                os.kill(pids[busy[0]], signal.SIGKILL)
                self.killed = busy[0]
            time.sleep(0.02)


def on_cluster(client, work, *, kill, scatter=()):
    """Return the result of some work on the cluster, of which a worker is killed while it is at work."""
    client.wait_for_workers(2, timeout=60)
    killer = WorkerKiller(client)
    with joblib.parallel_config("dask", scatter=list(scatter)):
        if kill:
            killer.start()
        result = work()
    if kill:
        killer.join()
        assert killer.killed is not None
    return result


KILL = pytest.mark.parametrize("kill", [False, True], ids=["undisturbed", "a worker killed"])


def four_rooms():
    return simulate_rooms(4, 1, materials=0.5, random_state=0)


@pytest.fixture(scope="module")
def rooms():
    return four_rooms()


@KILL
def test_simulated_rooms_are_those_of_one_process(client, rooms, kill):
    found = on_cluster(client, four_rooms, kill=kill)
    assert all(np.array_equal(one, other) for one, other in zip(rooms.rirs, found.rirs, strict=True))
    pd.testing.assert_frame_equal(found.target, rooms.target, check_exact=True)
    pd.testing.assert_frame_equal(found.proof, rooms.proof, check_exact=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Recordings of different lengths, one of them broken."""
    folder = tmp_path_factory.mktemp("recordings")
    segments = make_speech(n_speakers=2, n_segments=6, duration=5.0, random_state=0).segments
    for i, segment in enumerate(segments):
        write_audio(folder / f"{i}.wav", segment[: (2 + i) * 8000] / np.abs(segment).max())
    (folder / "broken.wav").write_bytes(b"RIFF")
    return sorted(folder.iterdir())


@KILL
def test_estimates_are_those_of_one_process(client, files, kill):
    def estimate():
        with pytest.warns(UserWarning, match=r"got 1 of 7 that are not"):
            return estimate_room(files)

    alone = estimate()
    pd.testing.assert_frame_equal(on_cluster(client, estimate, kill=kill), alone, check_exact=True)


def test_reverberant_speech_is_that_of_one_process(client, rooms):
    speech = make_speech(n_speakers=2, n_segments=4, random_state=0)

    def convolved():
        return make_reverberant_speech(rooms, speech, random_state=0)

    alone, found = convolved(), on_cluster(client, convolved, kill=False)
    assert np.array_equal(alone.data, found.data)


def searched(room_grid):
    """Return the scores of a search, and the estimates of its best estimator."""
    X, rt60, groups = room_grid
    head = RoomRegressor(max_epochs=2, validation_fraction=0, random_state=0)
    pipe = Pipeline([("encoder", ContrastiveRoomEncoder(**ENCODER)), ("head", head)])
    search = GridSearchCV(pipe, {"encoder__tau": [0.1, 1.0]}, cv=GroupKFold(2), error_score="raise")
    labels = {f"encoder__{name}": values for name, values in groups.items()}
    search.fit(X, rt60, groups=groups["room_groups"], **labels)
    return [search.cv_results_[f"split{i}_test_score"] for i in range(2)], search.predict(X)


@pytest.fixture(scope="module")
def search(room_grid):
    return searched(room_grid)


@KILL
def test_a_grid_search_gives_the_scores_of_one_process(client, room_grid, search, kill):
    # Each worker has a copy of the recordings: data that only one has are lost with it.
    found = on_cluster(client, lambda: searched(room_grid), kill=kill, scatter=room_grid[:1])
    assert np.array_equal(search[0], found[0])
    assert np.array_equal(search[1], found[1])
