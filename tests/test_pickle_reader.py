"""Laws of reading a pickle without executing it: it says what Python's reader says; hostile files do nothing."""

import io
import os
import pickle
import struct
import subprocess
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import fake_chumpy
from headartist.heads.pickle import reader as pickle_reader
from headartist.heads.pickle import records as pickle_records
from headartist.heads.pickle.names import Kind, Record, Refused
from headartist.heads.pickle.reader import read_pickle
from headartist.heads.pickle.records import Arrays, as_array

PROTOCOLS = range(6)
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(4, 3))
SPARSE = np.where(RNG.random((5, 9)) > 0.7, RNG.normal(size=(5, 9)), 0.0)

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**100), 2**100) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=40)
@given(value=plain)
def test_plain_values_are_read_as_python_reads_them(protocol, value):
    assert read_pickle(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        NUMBERS,
        np.asfortranarray(NUMBERS.astype(np.float32)),
        NUMBERS[::2, 1:],
        NUMBERS.astype(">f8"),
        np.arange(6, dtype=np.uint32).reshape(2, 3),
        np.arange(3, dtype=">i2"),
        np.array([True, False]),
        np.array(2.5),
        np.float64(3.5),
        np.int32(-7),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_is_read_as_it_was(array, protocol):
    read = as_array(read_pickle(pickle.dumps(array, protocol)))
    assert np.array_equal(read, array)
    assert read.dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("layout", ["csc_matrix", "csr_matrix", "csc_array", "csr_array"])
def test_a_sparse_matrix_is_written_out(layout, protocol):
    stored = pickle.dumps(getattr(scipy.sparse, layout)(SPARSE), protocol)
    assert np.array_equal(as_array(read_pickle(stored)), SPARSE)


def test_a_sparse_matrix_may_tell_its_shape_in_numpys_numbers():
    matrix = scipy.sparse.csc_matrix(SPARSE)
    matrix.__dict__["_shape"] = tuple(np.int64(length) for length in SPARSE.shape)
    assert np.array_equal(as_array(read_pickle(pickle.dumps(matrix, 2))), SPARSE)


def test_names_of_earlier_releases_are_known():
    for new, old in ((b"numpy._core", b"numpy.core"), (b"scipy.sparse._csc", b"scipy.sparse.csc")):
        stored = pickle.dumps(scipy.sparse.csc_matrix(SPARSE), 2)
        assert new in stored
        assert np.array_equal(as_array(read_pickle(stored.replace(new, old))), SPARSE)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_chumpys_records_give_their_arrays(protocol):
    variable = fake_chumpy.Ch(NUMBERS)
    chosen = np.array([[5, 0], [11, 5]])
    model = {"v": variable, "nested": fake_chumpy.Ch(variable), "s": fake_chumpy.Select(variable, chosen, (1, 4))}
    read = read_pickle(fake_chumpy.dumps(model, protocol))
    assert np.array_equal(as_array(read["v"]), NUMBERS)
    assert np.array_equal(as_array(read["nested"]), NUMBERS)
    assert np.array_equal(as_array(read["s"]), NUMBERS.ravel()[chosen].reshape(1, 4))


def python2_array(array: np.ndarray, codes: bytes) -> bytes:
    """Protocol 2 as Python 2's numpy 1.x wrote it: byte strings, protocol-2 tuples, `numpy.core`."""
    short = lambda text: b"U" + bytes([len(text)]) + text  # noqa: E731
    raw = array.tobytes()
    dtype = b"cnumpy\ndtype\n" + short(codes) + b"K\x00K\x01\x87R(K\x03" + short(b"<") + b"NNNJ\xff\xff\xff\xff" * 1
    dtype += b"J\xff\xff\xff\xffK\x00tb"
    shape = b"(" + b"".join(b"K" + bytes([n]) for n in array.shape) + b"t"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + short(b"b") + b"\x87R"
    return made + b"(K\x01" + shape + dtype + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"


def test_a_file_of_python_2_is_read():
    array = np.array([[1.5, -2.0], [0.1, 255.0]])
    stored = b"\x80\x02}(U\x01a" + python2_array(array, b"f8") + b"U\x04nameU\x03f\xfcru."
    read = read_pickle(stored)
    assert np.array_equal(as_array(read["a"]), array)
    assert read["name"] == "für"
    assert pickle.loads(stored, encoding="latin1")["name"] == "für"


# --- hostile files -------------------------------------------------------------------------------------------------


class Runs:
    """Asks its reader to run something."""

    def __init__(self, call, *arguments):
        self._made = (call, arguments)

    def __reduce__(self):
        return self._made


class Remembers:
    """Is kept outside of the file."""


class KeepsOutside(pickle.Pickler):
    def persistent_id(self, value):
        return "elsewhere" if isinstance(value, Remembers) else None


def kept_outside(protocol: int) -> bytes:
    file = io.BytesIO()
    KeepsOutside(file, protocol).dump([Remembers()])
    return file.getvalue()


def array_with(**changed: object) -> bytes:
    """An array's record with something wrong in it."""
    given = {"shape": (4, 3), "dtype": np.dtype("f8"), "raw": NUMBERS.tobytes()} | changed
    return pickle.dumps(Runs(_frombuffer(), given["raw"], given["dtype"], given["shape"], "C"), 4)


def _frombuffer():
    return np.zeros(2).__reduce_ex__(5)[0]


CANARY = "canary"
NAMED = {
    "os.system": pickle.dumps(Runs(os.system, f"touch {CANARY}"), 2),
    "os.system in protocol 0": pickle.dumps(Runs(os.system, f"touch {CANARY}"), 0),
    "os.system by STACK_GLOBAL": pickle.dumps(Runs(os.system, f"touch {CANARY}"), 4),
    "builtins.eval": pickle.dumps(Runs(eval, f"open({CANARY!r}, 'w')"), 3),
    "subprocess.Popen inside a model": pickle.dumps({"v_template": [Runs(subprocess.Popen, ["touch", CANARY])]}, 4),
    "a name that is only mentioned": b"cposix\nsystem\n.",
    "a name within a name": b"\x8c\x05numpy\x8c\x10ndarray.__init__\x93.",
    "an old style instance": b"(S'touch'\nios\nsystem\n.",
    "numpy's own loader": b"cnumpy\nload\n(S'x'\ntR.",
}
INSTRUCTED = {
    "EXT1": b"\x82\x01.",
    "EXT2": b"\x83\x01\x00.",
    "EXT4": b"\x84\x01\x00\x00\x00.",
    "PERSID": kept_outside(0),
    "BINPERSID": kept_outside(2),
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "READONLY_BUFFER": b"\x80\x05C\x01a\x98.",
    "OBJ": b"(cnumpy\nndarray\no.",
}
CONFUSED = {
    "no instruction": b"",
    "an unknown instruction": b"\xff.",
    "nothing on the stack": b".",
    "a mark that is not there": b"Nt.",
    "a value that was never kept": b"h\x07.",
    "BUILD of a list": b"]}b.",
    "BUILD of a class": b"cnumpy\nndarray\n}b.",
    "BUILD twice": b"cchumpy.ch\nCh\n)\x81}b}b.",
    "REDUCE of a text": b"S'os'\n)R.",
    "REDUCE with a list": b"cnumpy\ndtype\n]R.",
    "a class made with arguments": b"cnumpy\nndarray\nK\x01\x85\x81.",
    "a function made an object": b"cnumpy.core.multiarray\n_reconstruct\n)\x81.",
    "_reconstruct of something else": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\nK\x00tR.",
    "a tuple as a key": b"})Ns.",
    "a number as a key": b"}K\x01Ns.",
    "a key alone": b"}(X\x01\x00\x00\x00au.",
    "a text without quotes": b"Sabc\n.",
    "a text that is no UTF-8": b"\x8c\x01\xff.",
    "a number that is none": b"Iseven\n.",
    "a number of a million digits": b"L" + b"9" * 10**6 + b"L\n.",
    "a binary number of a megabyte": b"\x8b" + struct.pack("<I", 10**6) + b"\x01" * 10**6 + b".",
    "a memo beyond reason": b"Np99999999999999\n.",
    "a later protocol": b"\x80\x06N.",
    "a frame beyond the end": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",
    "a text beyond the end": b"X\xff\xff\xff\xff.",
    "bytes beyond the end": b"\x8e" + struct.pack("<Q", 2**62) + b".",
    "a line without an end": b"I12",
}


@pytest.fixture
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMED)
def test_what_a_file_wants_to_run_is_refused_by_name(name, nothing_runs):
    with pytest.raises(Refused, match=r"it names '[\w.]+', which is no record of numpy, scipy or chumpy"):
        read_pickle(NAMED[name])


@pytest.mark.parametrize("name", INSTRUCTED)
def test_what_lies_outside_of_a_file_is_refused(name, nothing_runs):
    with pytest.raises(Refused, match=f"which is {name}"):
        read_pickle(INSTRUCTED[name])


@pytest.mark.parametrize("name", CONFUSED)
def test_what_makes_no_sense_is_refused(name, nothing_runs):
    with pytest.raises(Refused):
        read_pickle(CONFUSED[name])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shape": (2**40, 2**40)}, "has 96 bytes"),
        ({"shape": (-4, -3)}, "shape is none"),
        ({"shape": (4, 3.0)}, "shape is none"),
        ({"raw": b"", "shape": (0, 2**62)}, "empty"),
        ({"dtype": np.dtype("O")}, "not of numbers"),
        ({"dtype": np.dtype("S8")}, "not of numbers"),
        ({"dtype": 8}, "type is none"),
        ({"raw": [1, 2]}, "content is a list"),
        ({"raw": "Ω" * 96}, "other letters"),
    ],
)
def test_an_array_that_contradicts_itself_is_refused(changed, words):
    with pytest.raises(Refused, match=words):
        as_array(read_pickle(array_with(**changed)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"_shape": (2**20, 2**20)}, "more than"),
        ({"_shape": (5, 3)}, "contradicts|outside"),
        ({"_shape": "a lot"}, "no rows and columns"),
        ({"_shape": (2.5, 9)}, "no rows and columns"),
        ({"_shape": (2**70, 2**70)}, "no rows and columns"),
        ({"indptr": np.array([0, 2**40])}, "contradicts"),
        ({"indices": np.full(len(scipy.sparse.csc_matrix(SPARSE).indices), 77)}, "outside"),
        ({"data": None}, "NoneType"),
    ],
)
def test_a_sparse_matrix_that_contradicts_itself_is_refused(changed, words):
    matrix = scipy.sparse.csc_matrix(SPARSE)
    matrix.__dict__.update(changed)
    with pytest.raises(Refused, match=words):
        as_array(read_pickle(pickle.dumps(matrix, 4)))


def test_records_within_themselves_are_refused():
    variable = fake_chumpy.Ch(None)
    variable.x = variable
    with pytest.raises(Refused, match="without end"):
        as_array(read_pickle(fake_chumpy.dumps(variable, 2)))


def selected(source: object, chosen: object) -> Record:
    return Record(Kind.SELECT, state={"a": source, "idxs": chosen, "preferred_shape": (250_000,)})


def test_records_that_name_one_another_again_and_again_are_read_once_each():
    """Seven Selects, each of the one before it twice: 2 ** 7 megabytes for a reader that follows every path."""
    number = np.zeros(250_000, np.int32)
    base = value = read_pickle(pickle.dumps(number, 2))
    for _ in range(7):
        value = selected(value, value)
    made = Arrays()
    began = time.process_time()
    assert np.array_equal(made(value), number)
    assert time.process_time() - began < 1
    assert made(base) is made(base)


def test_arrays_of_one_file_have_a_limit_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pickle_records, "LARGEST", 200)
    arrays, stored = Arrays(), pickle.dumps(NUMBERS, 2)
    arrays(read_pickle(stored))
    arrays(read_pickle(stored))
    with pytest.raises(Refused, match="its arrays have more than 200 bytes in all"):
        arrays(read_pickle(stored))


def test_a_file_that_was_cut_short_is_refused_wherever_it_was():
    stored = fake_chumpy.dumps({"v": fake_chumpy.Ch(NUMBERS[:1]), "set": {1}, "n": 2**70}, 2)
    for end in range(len(stored)):
        with pytest.raises(Refused):
            read_pickle(stored[:end])


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_and_nothing_else(data):
    stored = bytearray(fake_chumpy.dumps({"v": fake_chumpy.Ch(NUMBERS[:1]), "r": scipy.sparse.csr_matrix(SPARSE)}, 2))
    for _ in range(data.draw(st.integers(1, 4))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = read_pickle(bytes(stored))
        for value in read.values() if isinstance(read, dict) else ():
            as_array(value)
    except Refused:
        pass


def test_claims_cost_no_memory():
    claims = [b"B\xff\xff\xff\x7f.", b"\x8e" + struct.pack("<Q", 2**40) + b".", array_with(shape=(2**30, 2**30))]
    tracemalloc.start()
    for claim in claims:
        with pytest.raises(Refused):
            as_array(read_pickle(claim))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_memo_bomb_is_as_small_as_its_file():
    """Sixty lists, each twice the one before it: 2 ** 60 leaves for a reader that walks them."""
    doubled = b"]" + b"".join(b"q" + bytes([k]) + b"0]h" + bytes([k]) + b"ah" + bytes([k]) + b"a" for k in range(60))
    assert len(read_pickle(doubled + b".")) == 2
    encoded = b"c_codecs\nencode\nq\x000X\x40\x42\x0f\x00" + b"a" * 10**6 + b"X\x06\x00\x00\x00latin1\x86q\x010"
    tracemalloc.start()
    read_pickle(encoded + b"](" + b"h\x00h\x01R" * 1000 + b"e.")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_instructions_are_limited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pickle_reader, "INSTRUCTIONS", 1_000)
    assert read_pickle(b"N0" * 499 + b"N.") is None
    with pytest.raises(Refused, match="more than 1,000 instructions"):
        read_pickle(b"N0" * 500 + b"N.")
