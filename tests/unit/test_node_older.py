"""What a member answers when it is asked for older blocks is taken apart with care: what is no blocks and no proof is a lie."""

import pytest

from yilian.base.codec import encode
from yilian.engines import Lied
from yilian.node import older


def framed(*blocks):
    return b"".join(len(block).to_bytes(4, "big") + block for block in blocks)


def lied(act, content):
    with pytest.raises(Lied) as no:
        act(content)
    return str(no.value), no.value.is_sender


def test_frames_are_cut_where_they_end():
    assert older._frames(b"") == []
    assert older._frames(framed(b"one", b"", b"three")) == [b"one", b"", b"three"]


@pytest.mark.parametrize("left_out", range(1, 12))
def test_an_answer_that_ends_within_a_frame_is_refused_wherever_it_ends(left_out):
    content = framed(b"one", b"three")[:-left_out]
    if len(content) == len(framed(b"one")):
        assert older._frames(content) == [b"one"]
    else:
        assert lied(older._frames, content) == ("the answer ends within a block", True)


def test_a_proof_is_a_list_of_hashes():
    assert older._path(encode([b"a" * 32, b"b" * 32])) == [b"a" * 32, b"b" * 32]
    assert older._path(encode([])) == []
    assert lied(older._path, b"\xff") == ("the proof cannot be read", True)
    for wrong in (encode({}), encode([1]), encode(b"a"), encode(None)):
        assert lied(older._path, wrong) == ("the proof is no list of hashes", True)
