"""Models: exact round trips, and files from strangers that are refused by name."""

from __future__ import annotations

import json
import math
import resource
import shutil
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from made_data import covariances_of
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec

from daskgmm.errors import (
    DamagedDataError,
    DaskGMMError,
    ModelFormatError,
    NotFoundError,
    OutputExistsError,
    ParameterError,
)
from daskgmm.kernel import COMPONENTS, Mixture, gaussian_mixture
from daskgmm.storage import read_model, save_model

K, D = 3, 4
PARAMETERS = ("weights", "means", "covariances")


def mixture_of(family: str, seed: int = 0) -> Mixture:
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(K, D, 2 * D))
    full = roots @ roots.transpose(0, 2, 1)
    covariances = covariances_of(family, full)
    return gaussian_mixture(rng.dirichlet(np.ones(K)), rng.normal(size=(K, D)), covariances, family)


RECORD = {"history": [{"log_likelihood": -1.25, "n_rows": 10}], "seed": 3, "converged": True}


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_model(folder / "m.zarr", mixture_of("full"), RECORD)
    return folder / "m.zarr"


@pytest.fixture
def saved(saved_once, tmp_path) -> Path:
    """A copy, which a test may damage."""
    return shutil.copytree(saved_once, tmp_path / "m.zarr")


def edit(path: Path, change) -> None:
    """Alter the attributes of a saved model."""
    document = json.loads((path / "zarr.json").read_text())
    change(document["attributes"])
    (path / "zarr.json").write_text(json.dumps(document))


@pytest.mark.parametrize("where", ["local", "memory"])
@pytest.mark.parametrize("family", COMPONENTS)
def test_a_round_trip_keeps_every_bit(tmp_path, family, where):
    root = tmp_path if where == "local" else f"memory://models-{tmp_path.name}"
    mixture = mixture_of(family)
    save_model(f"{root}/m.zarr", mixture, RECORD)
    read, record = read_model(f"{root}/m.zarr")
    assert record == RECORD
    assert read.kind == family
    for name in ("weights", "means", "covariances"):
        assert getattr(read, name).tobytes() == getattr(mixture, name).tobytes()


def test_any_zarr_reader_can_open_it(saved):
    group = zarr.open_group(saved, mode="r")
    assert group.attrs["format"] == "daskgmm"
    assert group.attrs["format_version"] == 1
    assert group.attrs["covariance_type"] == "full"
    assert {name: array.shape for name, array in group.arrays()} == {
        "weights": (K,),
        "means": (K, D),
        "covariances": (K, D, D),
        "component": (K,),
        "feature": (D,),
        "other_feature": (D,),
    }
    assert {group[name].dtype for name in PARAMETERS} == {np.dtype("f8")}
    assert [path.name for path in saved.parent.iterdir()] == ["m.zarr"]


def test_a_record_becomes_plain_json(tmp_path):
    record = {
        "a": np.float32(0.5),
        "b": np.int64(3),
        "c": np.bool_(True),
        "d": np.array([[1.0, np.nan]]),
        "e": (1, math.inf),
        "f": Path("x.zarr"),
        "g": None,
        "h": {1: float("nan")},
        "covariance_type": "diag",
    }
    save_model(tmp_path / "m.zarr", mixture_of("diag"), record)
    _, read = read_model(tmp_path / "m.zarr")
    assert read == {
        "a": 0.5,
        "b": 3,
        "c": True,
        "d": [[1.0, None]],
        "e": [1, None],
        "f": "x.zarr",
        "g": None,
        "h": {"1": None},
    }
    text = (tmp_path / "m.zarr" / "zarr.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


@pytest.mark.parametrize(
    ("record", "where"),
    [
        ({"a": object()}, r"record\['a'\] is a object"),
        ({"a": [1, {2, 3}]}, r"record\['a'\]\[1\] is a set"),
        ({"format": "other"}, r"record\['format'\]"),
        ({"covariance_type": "tied"}, r"record\['covariance_type'\]"),
    ],
)
def test_a_record_that_cannot_be_stored_is_refused_before_writing(tmp_path, record, where):
    with pytest.raises(ParameterError, match=where):
        save_model(tmp_path / "m.zarr", mixture_of("full"), record)
    assert list(tmp_path.iterdir()) == []


def test_overwriting_is_asked_for(saved):
    other = mixture_of("tied", seed=1)
    with pytest.raises(OutputExistsError, match=r"m.zarr exists"):
        save_model(saved, other, {})
    assert read_model(saved)[0].kind == "full"
    save_model(saved, other, {}, overwrite=True)
    assert read_model(saved)[0].means.tobytes() == other.means.tobytes()
    assert [path.name for path in saved.parent.iterdir()] == ["m.zarr"]


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"none.zarr does not exist"):
        read_model(tmp_path / "none.zarr")
    with pytest.raises(NotFoundError, match=r"memory://none.zarr"):
        read_model("memory://none.zarr")
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.txt").write_text("{}")
    zarr.create_array(tmp_path / "a.zarr", data=np.ones(3))
    zarr.create_group(tmp_path / "g.zarr", attributes={"format": "other"})
    zarr.create_group(tmp_path / "v2.zarr", zarr_format=2)
    for name, why in [
        ("folder", "not a Zarr"),
        ("x.txt", "no known kind"),
        ("a.zarr", "is a Zarr array, not a model"),
        ("g.zarr", "'other', not 'daskgmm'"),
        ("v2.zarr", "None, not 'daskgmm'"),
    ]:
        with pytest.raises(ModelFormatError, match=f"{name} .*{why}"):
            read_model(tmp_path / name)


@pytest.mark.parametrize("version", [5, 99])
def test_a_newer_format_says_to_upgrade(saved, version):
    edit(saved, lambda attributes: attributes.update(format_version=version))
    with pytest.raises(ModelFormatError, match=rf"newer daskgmm \(format_version {version}.*upgr"):
        read_model(saved)


@pytest.mark.parametrize("version", [0, -1, 1.0, "1", True, None, [1]])
def test_a_version_is_a_positive_integer(saved, version):
    edit(saved, lambda attributes: attributes.update(format_version=version))
    with pytest.raises(ModelFormatError, match="format_version"):
        read_model(saved)


@pytest.mark.parametrize("covariance_type", ["banded", "__class__", 3, None, ["full"], {}])
def test_a_covariance_type_is_a_known_name(saved, covariance_type):
    edit(saved, lambda attributes: attributes.update(covariance_type=covariance_type))
    with pytest.raises(ModelFormatError, match=r"covariance_type .*known are full"):
        read_model(saved)


@pytest.mark.parametrize("name", ["weights", "means", "covariances"])
def test_every_array_is_needed_and_needs_to_be_one(saved, name):
    group = zarr.open_group(saved)
    del group[name]
    with pytest.raises(ModelFormatError, match=f"no array '{name}'"):
        read_model(saved)
    group.create_group(name)
    with pytest.raises(ModelFormatError, match=f"{name} is a group"):
        read_model(saved)
    del group[name]
    (saved / name).mkdir()
    (saved / name / "zarr.json").write_text("{")
    with pytest.raises(ModelFormatError, match=f"m.zarr/{name}|no array"):
        read_model(saved)


@pytest.mark.parametrize("name", ["weights", "means", "covariances"])
@pytest.mark.parametrize("dtype", ["f4", "i8", "c16", "M8[s]"])
def test_only_float64_is_read(saved, name, dtype):
    group = zarr.open_group(saved)
    shape = group[name].shape
    del group[name]
    group.create_array(name, shape=shape, dtype=dtype)
    with pytest.raises(ModelFormatError, match=f"{name} has dtype .*float64 is expected"):
        read_model(saved)


@pytest.mark.parametrize("name", ["weights", "means", "covariances"])
@pytest.mark.parametrize("shape", [(), (0,), (K + 1,), (K, D + 1), (K, D, D + 1), (0, D), (K, 0)])
def test_shapes_must_fit_each_other(saved, name, shape):
    group = zarr.open_group(saved)
    del group[name]
    group.create_array(name, shape=shape, dtype="f8")
    with pytest.raises(ModelFormatError, match=r"m.zarr/.* has shape"):
        read_model(saved)


@pytest.mark.parametrize(
    ("shape", "chunks"), [((10**9,), (10**9,)), ((K, D, D), (10**7, D, D)), ((10**12,), (1,))]
)
def test_huge_arrays_are_refused_before_they_are_read(saved, shape, chunks):
    group = zarr.open_group(saved)
    del group["covariances"]
    group.create_array("covariances", shape=shape, dtype="f8", chunks=(1,) * len(shape))
    document = saved / "covariances" / "zarr.json"
    metadata = json.loads(document.read_text())
    metadata["chunk_grid"]["configuration"]["chunk_shape"] = chunks
    document.write_text(json.dumps(metadata))
    with pytest.raises(ModelFormatError, match=r"covariances: .*no model is that large"):
        read_model(saved)


BOMB_BYTES = 2**29


def replace_weights(saved, **layout):
    group = zarr.open_group(saved)
    weights = group["weights"][:]
    del group["weights"]
    group.create_array("weights", data=weights, **layout)


def test_a_chunk_that_decodes_to_gigabytes_is_refused_before_it_is_decoded(saved):
    replace_weights(saved, chunks=(K,), compressors=[ZstdCodec()])
    chunk = saved / "weights" / "c" / "0"
    chunk.write_bytes(numcodecs.Zstd().encode(np.zeros(BOMB_BYTES, dtype="u1")))
    assert chunk.stat().st_size < 2**16
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        ModelFormatError, match=r"m.zarr/weights is stored with bytes, zstd; .*None"
    ):
        read_model(saved)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < BOMB_BYTES / 2**12  # KiB


@pytest.mark.parametrize(
    "layout",
    [{"shards": (4,), "chunks": (2,)}, {"compressors": GzipCodec()}, {"compressors": BloscCodec()}],
    ids=["shards", "gzip", "blosc"],
)
def test_nothing_whose_size_in_memory_is_unknown_is_read(saved, layout):
    replace_weights(saved, **layout)
    with pytest.raises(ModelFormatError, match=r"m.zarr/weights is stored with .*write its arrays"):
        read_model(saved)


@pytest.mark.parametrize(
    "layout",
    [
        {"compressors": None},
        {"compressors": [Crc32cCodec()], "chunks": (1,)},
        {"compressors": None, "serializer": BytesCodec(endian="big")},
    ],
    ids=["no checksum", "other chunks", "big-endian"],
)
def test_what_others_wrote_without_compression_is_read(saved, layout):
    mixture, _ = read_model(saved)
    replace_weights(saved, **layout)
    again, _ = read_model(saved)
    assert again.weights.tobytes() == mixture.weights.tobytes()


def test_a_chunk_that_is_larger_than_it_should_be_is_not_read(saved):
    chunk = saved / "weights" / "c" / "0"
    with chunk.open("r+b") as file:
        file.truncate(2**40)  # sparse: it takes no disk
    with pytest.raises(DamagedDataError, match=r"weights: chunk 'c/0' has 1099511627776 bytes, 28"):
        read_model(saved)
    edit_array(saved, "weights", chunk_shape=[2**27])
    with pytest.raises(ModelFormatError, match=r"a chunk of it has shape \(134217728,\), more"):
        read_model(saved)


def edit_array(saved, name, chunk_shape):
    document = saved / name / "zarr.json"
    metadata = json.loads(document.read_text())
    metadata["chunk_grid"]["configuration"]["chunk_shape"] = chunk_shape
    document.write_text(json.dumps(metadata))


def set_nan(group):
    group["means"][1, 2] = np.nan


def set_infinite(group):
    group["covariances"][0] = np.inf


def set_negative_weight(group):
    group["weights"][:] = [1.5, -0.25, -0.25]


def set_sum(group):
    group["weights"][:] = [0.5, 0.5, 0.5]


def set_indefinite(group):
    group["covariances"][1] = -np.eye(D)


def set_singular(group):
    group["covariances"][2] = np.ones((D, D))


@pytest.mark.parametrize(
    "change",
    [set_nan, set_infinite, set_negative_weight, set_sum, set_indefinite, set_singular],
)
def test_values_must_be_a_mixture(saved, change):
    change(zarr.open_group(saved))
    with pytest.raises(ModelFormatError, match=r"m.zarr holds no valid mixture"):
        read_model(saved)


def test_damage_is_named(saved):
    chunk = saved / "means" / "c" / "0" / "0"
    whole = chunk.read_bytes()
    flipped = bytearray(whole)
    flipped[5] ^= 1
    for content in (bytes(flipped), b"", whole[:-3]):
        chunk.write_bytes(content)
        with pytest.raises(DamagedDataError, match=r"m.zarr/means: chunk 'c/0/0'"):
            read_model(saved)
    chunk.unlink()
    with pytest.raises(DamagedDataError, match=r"chunk 'c/0/0' .* is missing"):
        read_model(saved)


def test_random_bytes_in_metadata_are_always_our_error(saved):
    document = saved / "means" / "zarr.json"
    whole = document.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), size=60).tolist():
        altered = bytearray(whole)
        altered[place] = int(rng.integers(32, 127))
        document.write_bytes(altered)
        try:
            read_model(saved)
        except DaskGMMError as error:
            assert "m.zarr" in str(error)  # noqa: PT017
