"""CometBFT's log of votes: of its files, those go that no start can need, and no other."""

import pytest

from yilian.engines.cometbft.votelog import FOLDER, trim

TIME = bytes.fromhex("0a0c08d6a093d80610fbdea0ba02")  # {1: {1: seconds, 2: nanos}}


def record(message):
    """Return a TimedWALMessage as CometBFT writes it; nobody here looks at the checksum."""
    body = TIME + b"\x12" + bytes([len(message)]) + message if len(message) < 128 else TIME + message
    return bytes(4) + len(body).to_bytes(4, "big") + body


END = record(bytes.fromhex("220308" + "9a17"))  # {4: {1: 2970}}, as one validator wrote it
NO_END = record(bytes.fromhex("2200"))  # end of height 0: what an empty head is given
STEP = record(bytes.fromhex("0a1708ae161a12526f756e64537465704e6577486569676874"))  # {1: a round step}
BLOCK = record(b"\x22\x03\x08\x01" + bytes(5_000))  # a block part, whatever its bytes look like


@pytest.mark.parametrize(
    ("turned", "head", "left"),
    [
        ([END, END, END, END], NO_END, ["wal.002", "wal.003"]),  # begun anew just before it ended: the case that took 36 s
        ([END, END, END, END], b"", ["wal.002", "wal.003"]),
        ([END, END, END, END], STEP + END, ["wal.003"]),
        (
            [END, END, STEP, BLOCK],
            STEP,
            ["wal.000", "wal.001", "wal.002", "wal.003"],
        ),  # many rounds of one height are replayed
        ([STEP, END, END, STEP, BLOCK], STEP, ["wal.001", "wal.002", "wal.003", "wal.004"]),
        ([STEP, STEP, BLOCK], NO_END, ["wal.000", "wal.001", "wal.002"]),  # no end of a height at all: nothing goes
        ([END, STEP + END, END + b"torn"], NO_END, ["wal.001", "wal.002"]),
        ([END, END, b"\xff" * 90], NO_END, ["wal.000", "wal.001", "wal.002"]),  # what cannot be read has no end of a height
        ([END, END, b"\x00" * 90 + END[:9]], NO_END, ["wal.000", "wal.001", "wal.002"]),
        ([], END, []),
        ([], b"", []),
    ],
)
def test_the_files_since_the_one_before_the_last_end_of_a_height_stay(tmp_path, turned, head, left):
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for number, data in enumerate(turned):
        (folder / f"wal.{number:03}").write_bytes(data)
    (folder / "wal").write_bytes(head)
    assert trim(tmp_path) == len(turned) - len(left)
    assert sorted(path.name for path in folder.iterdir()) == ["wal", *left]
    assert (folder / "wal").read_bytes() == head
    assert trim(tmp_path) == 0


def test_files_are_in_the_order_of_their_numbers_and_strangers_stay(tmp_path):
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for name in ("wal.998", "wal.999", "wal.1000", "wal.1001", "wal.CORRUPTED"):
        (folder / name).write_bytes(END)
    assert trim(tmp_path) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["wal.1000", "wal.1001", "wal.CORRUPTED"]


def test_a_home_that_never_ran_has_nothing_to_trim(tmp_path):
    assert trim(tmp_path) == 0
