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
from toys import ENCODER

from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor
from roomacoustic_sk.datasets import simulate_rooms

distributed = pytest.importorskip("distributed")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # dask's own


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A cluster of two processes with a thread each."""
    folder = tmp_path_factory.mktemp("dask")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(folder)
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def pid_of_worker():
    return os.getpid()


class Killer(threading.Thread):
    """Kills a worker as soon as it is at work."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.killed = client, None

    def run(self):
        pids = {address: pid for address, pid in self.client.run(os.getpid).items()}
        deadline = time.monotonic() + 60
        while self.killed is None and time.monotonic() < deadline:
            busy = [address for address, tasks in self.client.processing().items() if tasks and address in pids]
            if busy:
                os.kill(pids[busy[0]], signal.SIGKILL)
                self.killed = busy[0]
            time.sleep(0.02)


def on_cluster(client, work, *, kill):
    """Return the result of some work on the cluster, and whether a worker was killed while it ran."""
    client.wait_for_workers(2, timeout=60)
    killer = Killer(client)
    with joblib.parallel_config("dask"):
        if kill:
            killer.start()
        result = work()
    if kill:
        killer.join()
        assert killer.killed is not None
    return result


@pytest.mark.parametrize("kill", [False, True], ids=["undisturbed", "a worker killed"])
def test_simulated_rooms_are_those_of_one_process(client, kill):
    def rooms():
        return simulate_rooms(6, 1, materials=0.3, random_state=0)

    alone, found = rooms(), on_cluster(client, rooms, kill=kill)
    assert all(np.array_equal(one, other) for one, other in zip(alone.rirs, found.rirs, strict=True))
    pd.testing.assert_frame_equal(found.target, alone.target, check_exact=True)
    pd.testing.assert_frame_equal(found.proof, alone.proof, check_exact=True)


@pytest.mark.parametrize("kill", [False, True], ids=["undisturbed", "a worker killed"])
def test_a_grid_search_gives_the_scores_of_one_process(client, room_grid, kill):
    X, rt60, groups = room_grid
    labels = {f"encoder__{name}": values for name, values in groups.items()}

    def scores():
        pipe = Pipeline(
            [("encoder", ContrastiveRoomEncoder(**ENCODER)), ("head", RoomRegressor(max_epochs=2, random_state=0))]
        )
        search = GridSearchCV(pipe, {"encoder__tau": [0.1, 1.0]}, cv=GroupKFold(2), error_score="raise")
        search.fit(X, rt60, groups=groups["room_groups"], **labels)
        return search.cv_results_, search.predict(X)

    (alone, estimates), (found, others) = scores(), on_cluster(client, scores, kill=kill)
    for split in ("split0_test_score", "split1_test_score"):
        assert np.array_equal(alone[split], found[split])
    assert np.array_equal(estimates, others)
