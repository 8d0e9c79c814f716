"""Reading a pickle without executing it.

A stack machine that builds plain values and records, and calls nothing.

A pickle is a program; what it names, Python's own reader imports and calls. Here a name is only compared with the few
that numpy, scipy and chumpy put into a head model's file. Those become a `Record` of what the file says about the
object (`pickle_records.py` makes arrays of them); any other name is refused. Protocols 0 to 5 are read (PEP 307, PEP
3154, PEP 574).

A hostile file costs no more than its own size: a length must fit into what is left of the file, every instruction
makes at most one value, their number is limited, and no value is ever hashed, compared or shown but numbers and texts.
"""

import struct
from collections.abc import Callable
from typing import Any, NoReturn

from headartist.heads.pickle.names import CLASSES, KNOWN, Name, Record, Refused, made

PROTOCOL = 5
INSTRUCTIONS = 100_000  # at most in a file: a head model has some hundred
DIGITS = 40  # of a number written in decimal; bytes of one written in binary
NAME_SHOWN = 80


def read_pickle(data: bytes) -> Any:
    """Read the value that a pickle describes.

    Numbers, texts, bytes, lists (or tuples, for sets too), dicts, records.

    Python 2's byte strings are read as Latin-1 texts, as `encoding="latin1"` does.

    Raises:
        Refused: when it names anything but the records of numpy, scipy and chumpy, or is damaged.
    """
    return _Machine(data).run()


class _Machine:
    """The stack, its marks, the memo, and the file."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # what lies under each mark
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(INSTRUCTIONS):
            code = self._take(1)
            if code == b".":
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                what = _LOADS_CODE.get(code, "unknown to pickles")
                raise Refused(f"it holds the instruction {code[0]:#04x}, which is {what}")
            step(self)
        raise Refused(f"it has more than {INSTRUCTIONS:,} instructions")

    # --- the file -----------------------------------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise Refused(f"it wants {count:,} bytes at byte {self._at:,}, but has {len(self._data):,} in all")
        self._at += count
        return self._data[self._at - count : self._at]

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _protocol(self) -> None:
        if self._number(1) > PROTOCOL:
            raise Refused(f"it is of a protocol later than {PROTOCOL}")

    def _frame(self) -> None:
        length = self._number(8)
        if length > len(self._data) - self._at:
            raise Refused(f"it has a frame of {length:,} bytes at byte {self._at:,}, but {len(self._data):,} in all")

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self._at)
        if end < 0:
            raise Refused(f"its last line, at byte {self._at:,}, has no end")
        return self._take(end + 1 - self._at)[:-1]

    def _text_line(self) -> str:
        return self._line().decode("utf-8", "backslashreplace")

    def _decimal(self, kind: Callable[[bytes], Any]) -> Any:
        digits = self._line()
        if len(digits) > DIGITS:
            raise Refused(f"it holds a number of {len(digits):,} digits")
        try:
            return kind(digits)
        except ValueError:
            raise Refused(f"{digits!r} stands where a number belongs") from None

    # --- the stack ----------------------------------------------------------------------------------------------------

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            self._confused("takes a value that was never made")
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            self._confused(f"has no {kind.__name__} where one belongs")
        return self._stack[-1]

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        if not self._below:
            self._confused("goes back to a mark that was never set")
        items, self._stack = self._stack, self._below.pop()
        return items

    def _drop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _forget(self) -> None:
        self._since_mark()

    def _confused(self, how: str) -> NoReturn:
        raise Refused(f"it is damaged: it {how}, at byte {self._at:,}")

    # --- what is kept for later ---------------------------------------------------------------------------------------

    def _keep(self, index: int) -> None:
        if not 0 <= index < 2**32:
            self._confused(f"keeps a value as number {index}")
        self._memo[index] = self._top(object)

    def _again(self, index: int) -> None:
        if index not in self._memo:
            self._confused(f"asks for value {index}, which was never kept")
        self._push(self._memo[index])

    # --- containers ---------------------------------------------------------------------------------------------------

    def _extend(self, items: list[Any]) -> None:
        self._top(list).extend(items)

    def _update(self, items: list[Any]) -> None:
        if len(items) % 2:
            self._confused("has a key without a value")
        keys = items[::2]
        for key in keys:
            # A nested tuple's hash takes as long as its writer likes, and many numbers can be made to share one.
            if not isinstance(key, str | bytes):
                raise Refused(f"it uses a value of type {type(key).__name__} as a key")
        self._top(dict).update(zip(keys, items[1::2], strict=True))

    def _dict(self) -> None:
        items = self._since_mark()
        self._push({})
        self._update(items)

    def _set_item(self) -> None:
        value = self._pop()
        self._update([self._pop(), value])

    def _tuple(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    # --- what is named ------------------------------------------------------------------------------------------------

    def _name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            self._confused("names something by no text")
        known = KNOWN.get(f"{module}.{name}")
        if known is None:
            raise Refused(f"it names {_shown(f'{module}.{name}')}, which is no record of numpy, scipy or chumpy")
        self._push(Name(known))

    def _name_on_stack(self) -> None:
        name = self._pop()
        self._name(self._pop(), name)

    def _old_style_instance(self) -> None:
        # No record we know is written so; looking the name up says what the file wanted.
        self._name(self._text_line(), self._text_line())
        self._confused("makes an object in a way that none of its records is made")

    def _reduce(self) -> None:
        arguments, name = self._pop(), self._pop()
        if not (isinstance(name, Name) and isinstance(arguments, tuple)):
            self._confused("calls what is no name")
        self._push(made(name.kind, arguments))

    def _new(self) -> None:
        arguments, name = self._pop(), self._pop()
        if not (isinstance(name, Name) and name.kind in CLASSES and arguments == ()):
            self._confused("makes an object of what is no class, or with arguments")
        self._push(Record(name.kind))

    def _new_with_keywords(self) -> None:
        if self._pop() != {}:
            self._confused("makes an object with arguments")
        self._new()

    def _build(self) -> None:
        state = self._pop()
        record = self._top(object)
        if not isinstance(record, Record) or record.state is not None:
            raise Refused(f"it sets the state of a {type(record).__name__} that takes none")
        record.state = state


def _python2_text(raw: bytes) -> str:
    return raw.decode("latin-1")


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Refused("it holds a text that is not UTF-8") from None


def _escaped(codec: str) -> Callable[[bytes], str]:
    def decode(raw: bytes) -> str:
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            raise Refused("it holds a text with an unfinished escape") from None

    return decode


def _quoted(raw: bytes) -> str:
    raw = raw.strip()
    if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in (b"'", b'"'):
        raise Refused("it holds a text without its quotation marks")
    return _escaped("unicode_escape")(raw[1:-1])


def _binary_integer(raw: bytes) -> int:
    if len(raw) > DIGITS:
        raise Refused(f"it holds a number of {len(raw):,} bytes")
    return int.from_bytes(raw, "little", signed=True)


def _bool_or_int(digits: bytes) -> int:
    return {b"00": False, b"01": True}[digits] if digits in (b"00", b"01") else int(digits)


def _shown(name: str) -> str:
    return repr(name if len(name) <= NAME_SHOWN else name[:NAME_SHOWN] + "...")


_Step = Callable[[_Machine], None]


def _payload(width: int, decode: Callable[[bytes], Any]) -> _Step:
    """Read a value as long as a number before it says."""
    return lambda machine: machine._push(decode(machine._take(machine._number(width))))


def _long_integer(digits: bytes) -> int:
    return int(digits.removesuffix(b"L"))


_STEPS: dict[bytes, _Step] = {
    # The protocol's number and the frames are for readers of streams.
    b"\x80": lambda m: m._protocol(),
    b"\x95": lambda m: m._frame(),
    # values
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"I": lambda m: m._push(m._decimal(_bool_or_int)),
    b"L": lambda m: m._push(m._decimal(_long_integer)),
    b"F": lambda m: m._push(m._decimal(float)),
    b"J": lambda m: m._push(_binary_integer(m._take(4))),
    b"K": lambda m: m._push(m._number(1)),
    b"M": lambda m: m._push(m._number(2)),
    b"\x8a": _payload(1, _binary_integer),
    b"\x8b": _payload(4, _binary_integer),
    b"G": lambda m: m._push(struct.unpack(">d", m._take(8))[0]),
    b"S": lambda m: m._push(_quoted(m._line())),
    b"V": lambda m: m._push(_escaped("raw_unicode_escape")(m._line())),
    b"U": _payload(1, _python2_text),
    b"T": _payload(4, _python2_text),
    b"\x8c": _payload(1, _utf8),
    b"X": _payload(4, _utf8),
    b"\x8d": _payload(8, _utf8),
    b"C": _payload(1, bytes),
    b"B": _payload(4, bytes),
    b"\x8e": _payload(8, bytes),
    b"\x96": _payload(8, bytes),
    # containers; sets are read as lists
    b"(": lambda m: m._mark(),
    b"]": lambda m: m._push([]),
    b"}": lambda m: m._push({}),
    b"\x8f": lambda m: m._push([]),
    b")": lambda m: m._push(()),
    b"l": lambda m: m._push(m._since_mark()),
    b"\x91": lambda m: m._push(m._since_mark()),
    b"t": lambda m: m._push(tuple(m._since_mark())),
    b"d": lambda m: m._dict(),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"a": lambda m: m._extend([m._pop()]),
    b"e": lambda m: m._extend(m._since_mark()),
    b"\x90": lambda m: m._extend(m._since_mark()),
    b"s": lambda m: m._set_item(),
    b"u": lambda m: m._update(m._since_mark()),
    # the stack and the memo
    b"0": lambda m: m._drop(),
    b"1": lambda m: m._forget(),
    b"2": lambda m: m._push(m._top(object)),
    b"p": lambda m: m._keep(m._decimal(int)),
    b"q": lambda m: m._keep(m._number(1)),
    b"r": lambda m: m._keep(m._number(4)),
    b"\x94": lambda m: m._keep(len(m._memo)),
    b"g": lambda m: m._again(m._decimal(int)),
    b"h": lambda m: m._again(m._number(1)),
    b"j": lambda m: m._again(m._number(4)),
    # what is named
    b"c": lambda m: m._name(m._text_line(), m._text_line()),
    b"\x93": lambda m: m._name_on_stack(),
    b"i": lambda m: m._old_style_instance(),
    b"R": lambda m: m._reduce(),
    b"\x81": lambda m: m._new(),
    b"\x92": lambda m: m._new_with_keywords(),
    b"b": lambda m: m._build(),
}
_LOADS_CODE = {
    b"P": "PERSID, an object kept outside the file",
    b"Q": "BINPERSID, an object kept outside the file",
    b"\x82": "EXT1, a name of the reader's own registry",
    b"\x83": "EXT2, a name of the reader's own registry",
    b"\x84": "EXT4, a name of the reader's own registry",
    b"\x97": "NEXT_BUFFER, data kept outside the file",
    b"\x98": "READONLY_BUFFER, data kept outside the file",
    b"o": "OBJ, an object made in a way that none of its records is made",
}
