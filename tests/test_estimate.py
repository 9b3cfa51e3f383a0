"""`estimate_room` takes any recording and gives each row a number, a flag, or an error that says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from toys import RATE, diffuse, write_audio

from roomacoustic_sk import ContrastiveRoomEncoder, RoomParameterEstimator, RoomRegressor, estimate_room, save
from roomacoustic_sk import _sources as module
from roomacoustic_sk.datasets import load_recordings, make_speech
from roomacoustic_sk.datasets._reading import resample
from roomacoustic_sk.estimate import FLAGS, iterate_estimates
from roomacoustic_sk.pretrained import load_pretrained

ROUNDING = 1e-5  # of estimates, which depend on what else is in the batch
NUMBERS = ["rt60", "rt60_low", "rt60_high", "c50", "c50_low", "c50_high"]


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Ten seconds of reverberant synthetic speech."""
    dry = make_speech(n_speakers=1, n_segments=1, duration=10.0, random_state=0).segments[0]
    response = diffuse(0.5, 0.6)
    wet = np.convolve(dry, response)[: len(dry)]
    return (0.5 * wet / np.abs(wet).max() + 1e-5 * np.random.default_rng(0).standard_normal(len(wet))).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def model(speech) -> RoomParameterEstimator:
    """An estimator whose numbers mean nothing, with intervals."""
    rng = np.random.default_rng(0)
    X = [speech[i * RATE : (i + 2) * RATE] + 0.05 * rng.standard_normal(2 * RATE).astype("f4") for i in range(8)] * 5
    y = pd.DataFrame(
        {"rt60_mid": rng.uniform(0.2, 1, 40), "c50": rng.normal(size=40), "rt60_500": rng.uniform(1, 2, 40)}
    )
    encoder = ContrastiveRoomEncoder(
        network="compact", n_classes=8, validation_fraction=0, max_epochs=0, segment_duration=2.0, random_state=0
    )
    estimator = RoomParameterEstimator(encoder, RoomRegressor(validation_fraction=0, max_epochs=2, random_state=0))
    estimator.fit(X, y, rir_groups=np.arange(40) // 4)
    return estimator.calibrate(X, y, np.arange(40) // 2)


def only(frame: pd.DataFrame) -> pd.Series:
    """Return the only row of a table."""
    assert len(frame) == 1
    return frame.iloc[0]


def test_a_file_gives_what_the_estimator_gives(model, speech, tmp_path: Path) -> None:
    path = write_audio(tmp_path / "talk.wav", speech, subtype="FLOAT")
    frame = estimate_room(path, model=model)
    found = model.estimate([speech])
    assert_allclose(only(frame)[["rt60", "c50"]].astype(float), found.values[0, :2])
    assert_allclose(only(frame)[["rt60_low", "rt60_high"]].astype(float), found.intervals[0, 0])
    assert frame.index.tolist() == [(str(path), 0, 0.0, 10.0)]
    assert list(frame) == [*NUMBERS, "speech", "snr", "flags", "model"]
    assert only(frame)["speech"] > 5
    assert only(frame)["flags"] in ("", "out_of_range")


def test_octave_bands_come_when_asked_for(model, speech) -> None:
    assert "rt60_500_high" in estimate_room(speech, RATE, model=model, bands=True)
    head = RoomRegressor(validation_fraction=0, max_epochs=1).fit(model.transform([speech] * 12), np.arange(12.0))
    broadband = RoomParameterEstimator.of_fitted(model.encoder_, head)
    with pytest.raises(ValueError, match="bands must be False with this model, which estimates y0"):
        estimate_room(speech, RATE, model=broadband, bands=True)


@pytest.mark.parametrize("n_times", [441_001, 441_003, 441_111])
def test_a_file_of_any_length_is_read_to_its_end(model, tmp_path: Path, n_times: int) -> None:
    samples = np.random.default_rng(0).standard_normal(n_times) * (np.sin(np.arange(n_times) / 4000) > 0) * 0.1
    path = write_audio(tmp_path / "cd.wav", samples, 44_100)
    assert_allclose(estimate_room(path, model=model).index.get_level_values("end"), n_times / 44_100, atol=0.001)
    assert len(estimate_room(path, model=model, window=5.0)) == 2


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_any_rate_and_number_of_channels(model, speech, tmp_path: Path, rate: int) -> None:
    one = resample(speech, RATE, rate)
    path = write_audio(tmp_path / "stereo.flac", np.stack([one, 0.3 * one], axis=1), rate)
    frame = estimate_room(path, model=model)
    assert frame.index.get_level_values("channel").tolist() == [0, 1]
    assert_allclose(frame["rt60"].iloc[0], frame["rt60"].iloc[1], rtol=0.02)  # the level says nothing
    assert ("narrow_band" in frame["flags"].iloc[0]) == (rate == 8_000)
    assert_allclose(frame.index.get_level_values("end"), 10.0, atol=0.01)
    assert len(estimate_room(path, model=model, channel="mix")) == 1
    assert_allclose(only(estimate_room(path, model=model, channel=1))["rt60"], frame["rt60"].iloc[1], rtol=ROUNDING)
    with pytest.raises(ValueError, match="channel"):
        estimate_room(path, model=model, channel=2)


def test_what_cannot_be_told_is_nan_with_a_flag(model, speech) -> None:
    rng = np.random.default_rng(1)
    cases = {
        "no_speech": np.zeros(3 * RATE),
        "response": np.concatenate([np.zeros(100), diffuse(0.6, 0.8)]),
        "too_short": speech[: RATE * 3 // 10],
        "no_speech,": 0.1 * rng.standard_normal(3 * RATE),
    }
    for flag, waveform in cases.items():
        row = only(estimate_room(waveform.astype(np.float32), RATE, model=model))
        assert flag.strip(",") in row["flags"].split(",")
        assert row[NUMBERS].isna().all()
    noisy = speech + 2 * np.sqrt(np.mean(speech**2)) * rng.standard_normal(len(speech)).astype("f4")
    row = only(estimate_room(noisy, RATE, model=model))
    assert {"too_noisy", "no_speech"} & set(row["flags"].split(","))
    assert row[NUMBERS].isna().all()


@pytest.mark.parametrize("constant", [0.0, 0.3])
def test_a_dead_channel_leaves_the_others(model, speech, tmp_path: Path, constant: float) -> None:
    both = np.stack([speech, np.full(len(speech), constant, dtype=np.float32)], axis=1)
    frame = estimate_room(write_audio(tmp_path / "stereo.wav", both, subtype="FLOAT"), model=model)
    assert frame["rt60"].notna().tolist() == [True, False]
    assert frame["flags"].iloc[1] == "no_speech"


def test_an_offset_changes_nothing(model, speech) -> None:
    alone, moved = (only(estimate_room(0.02 * speech + offset, RATE, model=model)) for offset in (0.0, 0.9))
    assert_allclose(moved["rt60"], alone["rt60"], rtol=0.01)
    assert_allclose(moved["snr"], alone["snr"], atol=0.5)


def test_zeros_after_a_cut_are_no_decay(model, speech) -> None:
    cut = speech[: 4 * RATE]
    padded = np.concatenate([cut, np.zeros(2 * RATE, dtype=np.float32)])
    rows = [only(estimate_room(one, RATE, model=model)) for one in (cut, padded)]
    assert_allclose(rows[1]["rt60"], rows[0]["rt60"], rtol=0.02)


def test_scraps_between_zeros_have_no_number(model, speech) -> None:
    gated = speech * (np.arange(len(speech)) % (RATE // 2) < RATE // 3)
    row = only(estimate_room(gated, RATE, model=model))
    assert row["flags"].startswith("too_short")
    assert row[NUMBERS].isna().all()


def test_doubtful_numbers_keep_their_flag(model, speech) -> None:
    with pytest.warns(UserWarning, match="recordings should not be clipped"):
        row = only(estimate_room(np.clip(4 * speech, -0.5, 0.5), RATE, model=model))
    assert "clipped" in row["flags"].split(",")
    assert row[NUMBERS].notna().all()
    assert set(row["flags"].split(",")) <= set(FLAGS)


def test_a_window_gives_a_course_over_time(model, speech) -> None:
    frame = estimate_room(speech[: int(9.5 * RATE)], RATE, model=model, window=2.0)
    spans = [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0), (6.0, 8.0), (8.0, 9.5)]
    assert [index[2:] for index in frame.index] == spans
    alone = only(estimate_room(speech[2 * RATE : 4 * RATE], RATE, model=model))
    assert_allclose(frame["rt60"].iloc[1], alone["rt60"], rtol=ROUNDING)
    assert len(estimate_room(speech[: int(8.5 * RATE)], RATE, model=model, window=2.0)) == 4


def test_recordings_of_a_room_have_one_answer(model, speech) -> None:
    parts = [speech[: 4 * RATE], speech[4 * RATE :], speech[: 5 * RATE]]
    frame = estimate_room(parts, RATE, model=model, room=["hall", "hall", "office"])
    assert [index[:2] for index in frame.index] == [("hall", "all"), ("office", "all")]
    assert_allclose(frame["speech"].iloc[0], only(estimate_room(speech, RATE, model=model))["speech"], atol=0.5)
    assert_allclose(frame["rt60"].iloc[1], only(estimate_room(parts[2], RATE, model=model))["rt60"], rtol=ROUNDING)
    with pytest.raises(ValueError, match="room must be 1-D with 3 labels"):
        estimate_room(parts, RATE, model=model, room=["hall"])


def test_one_answer_a_room_has_no_windows(model, speech) -> None:
    with pytest.raises(ValueError, match=r"window must be None with room, which asks for one answer a room, got 2"):
        estimate_room([speech, speech], RATE, model=model, room=["a", "a"], window=2.0)
    with pytest.raises(ValueError, match=r"recordings must have a field data if it is a Bunch, got \['a'\]"):
        estimate_room({"a": 1}, RATE, model=model)


def test_a_folder_a_list_and_loaded_recordings(model, speech, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    write_audio(tmp_path / "b.wav", speech, subtype="FLOAT")
    write_audio(tmp_path / "below" / "a.wav", speech[: 4 * RATE], subtype="FLOAT")
    frame = estimate_room(tmp_path, model=model)
    assert frame.index.get_level_values("file").tolist() == ["b.wav", "below/a.wav"]
    listed = estimate_room([tmp_path / "below" / "a.wav", str(tmp_path / "b.wav")], model=model)
    assert_allclose(listed["rt60"].to_numpy(), frame["rt60"].to_numpy()[::-1], rtol=ROUNDING)
    loaded = load_recordings(tmp_path, duration=None)
    assert_allclose(estimate_room(loaded.data, model=model)["rt60"], frame["rt60"], rtol=ROUNDING)
    assert_allclose(estimate_room(loaded, model=model)["rt60"], frame["rt60"], rtol=ROUNDING)
    assert_allclose(estimate_room(tmp_path, model=model, n_jobs=2)["rt60"], frame["rt60"], rtol=ROUNDING)


def test_one_bad_file_does_not_stop_the_rest(model, speech, tmp_path: Path) -> None:
    good, bad = write_audio(tmp_path / "good.wav", speech), tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF is not enough")
    with pytest.raises(ValueError, match=r"bad\.wav"):
        estimate_room(bad, model=model)
    with pytest.raises(FileNotFoundError, match=r"none\.wav"):
        estimate_room(tmp_path / "none.wav", model=model)
    with pytest.warns(UserWarning, match=r"got 1 of 2 that are not: .*bad\.wav"):
        frame = estimate_room([bad, good], model=model)
    assert frame.index.get_level_values("file").tolist() == [str(good)]
    found = list(iterate_estimates([str(good), str(bad), str(good)], model=model))
    assert [one.error is None for one in found] == [True, False, True]
    assert [one.file for one in found] == [str(good), str(bad), str(good)]


def test_long_recordings_are_read_in_pieces(model, speech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_audio(tmp_path / "long.flac", np.tile(speech, 18))
    read, longest = module.read_segment, []

    def watched(*arguments, n_times, **others):
        longest.append(n_times)
        return read(*arguments, n_times=n_times, **others)

    monkeypatch.setattr(module, "read_segment", watched)
    row = only(estimate_room(path, model=model))
    assert max(longest) <= 60 * RATE
    assert len(longest) == 3
    once = only(estimate_room(speech, RATE, model=model))
    assert_allclose(row["rt60"], once["rt60"], rtol=0.1)
    assert_allclose(row["speech"], 18 * once["speech"], rtol=0.1)


def test_a_model_is_a_name_a_path_or_an_object(model, speech, tmp_path: Path) -> None:
    save(model, tmp_path / "mine.rsk")
    row = only(estimate_room(speech, RATE, model=tmp_path / "mine.rsk"))
    assert row["rt60"] == only(estimate_room(speech, RATE, model=model))["rt60"]
    assert row["model"] == "mine.rsk"
    with pytest.raises(ValueError, match=r"model must be one of \['default'\], or the path of a file.*got 'big'"):
        estimate_room(speech, RATE, model="big")
    with pytest.raises(
        TypeError, match="model must be a name, a path or a RoomParameterEstimator, got a RoomRegressor"
    ):
        estimate_room(speech, RATE, model=RoomRegressor())


@pytest.mark.parametrize(
    ("recordings", "error", "message"),
    [
        (np.ones(100), ValueError, "sample_rate must be given for waveforms"),
        ([], ValueError, "recordings must have at least one recording"),
        (np.ones((900, 2)), ValueError, r"shape \(n_recordings, n_times\), got \(900, 2\).*Pass its transpose"),
        (3, TypeError, "recordings must be an audio file, a folder, a waveform or a list of them, got 3"),
        (["a.wav", np.ones(9)], TypeError, "all files or all waveforms"),
    ],
)
def test_other_recordings_are_refused(model, recordings, error, message: str) -> None:
    with pytest.raises(error, match=message):
        estimate_room(recordings, model=model)


def test_a_column_of_paths_is_a_list_of_files(model, speech, tmp_path: Path) -> None:
    paths = pd.Series([str(write_audio(tmp_path / f"{name}.wav", speech)) for name in "ab"])
    listed = estimate_room(paths.tolist(), model=model)
    for column in (paths, paths.to_numpy(), paths.to_numpy(dtype=str)):
        pd.testing.assert_frame_equal(estimate_room(column, model=model), listed)


def test_an_empty_path_is_no_folder(model) -> None:
    with pytest.raises(ValueError, match="recordings must be the path of a file or folder, got an empty one"):
        estimate_room("", model=model)


def test_nan_samples_are_refused(model) -> None:
    broken = np.ones(RATE)
    broken[7] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        estimate_room(broken, RATE, model=model)


def test_ffmpeg_decodes_what_libsndfile_does_not(
    model, speech, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in is run in place of ffmpeg, which copies a WAV file to where it was asked to."""
    wav, m4a = write_audio(tmp_path / "talk.wav", speech, subtype="FLOAT"), tmp_path / "talk.m4a"
    m4a.write_bytes(b"not read")
    stand_in = tmp_path / "bin" / "ffmpeg"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\nfor last; do :; done\ncp "{wav}" "$last"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:/usr/bin:/bin")
    assert only(estimate_room(m4a, model=model))["rt60"] == only(estimate_room(wav, model=model))["rt60"]
    stand_in.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    with pytest.raises(ValueError, match=r"files that ffmpeg reads, got talk\.m4a \(broken\)"):
        estimate_room(m4a, model=model)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(ValueError, match=r"Install ffmpeg, or convert it elsewhere: ffmpeg -i talk\.m4a talk\.wav"):
        estimate_room(m4a, model=model)


def test_the_shipped_estimator_needs_nothing_else() -> None:
    assert load_pretrained().target_names_[:3] == ["rt60_mid", "c50", "drr"]
    with pytest.raises(ValueError, match=r"name must be one of \['default'\], got 'large'"):
        load_pretrained("large")
