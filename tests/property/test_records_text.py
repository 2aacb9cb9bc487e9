"""Splicing, over random JSON: what is served is what was received with id and meta set, and nothing else moved."""

import json

import hypothesis.strategies as st
from hypothesis import given

from yilian.records import Malformed, RecordFault, spliced
from yilian.records.jsontext import identity_splices, read_bundle, read_resource

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
spaces = st.sampled_from(["", " ", "\n\t", "\r\n  "])


@st.composite
def resources(draw):
    members = draw(st.dictionaries(texts.filter(lambda k: k not in {"id", "meta", "resourceType"}), values, max_size=4))
    members |= draw(st.fixed_dictionaries({"resourceType": st.just("Patient")}, optional={"id": texts}))
    if draw(st.booleans()):
        members["meta"] = draw(st.fixed_dictionaries({}, optional={"versionId": texts, "lastUpdated": texts, "tag": values}))
    keys = draw(st.permutations(list(members)))
    space, escaped = draw(spaces), draw(st.booleans())
    pairs = [f"{json.dumps(k, ensure_ascii=escaped)}{space}:{space}{json.dumps(members[k], ensure_ascii=escaped)}" for k in keys]
    return (space + "{" + space + f"{space},{space}".join(pairs) + space + "}" + space), members


@given(resources())
def test_served_is_received_with_id_and_meta(drawn):
    text, members = drawn
    document = read_resource(text.encode())
    splices = document.in_bytes(identity_splices(document, "new", 7, "then"))
    served = spliced(text.encode(), splices)
    assert json.loads(served) == members | {"id": "new", "meta": members.get("meta", {}) | {"versionId": "7", "lastUpdated": "then"}}
    assert b"".join(_untouched(text.encode(), splices)) == _without(text.encode(), splices)
    assert document.encoded() == text.encode()


def _untouched(data, splices):
    at = 0
    for one in splices:
        yield data[at : one.start]
        at = one.end
    yield data[at:]


def _without(data, splices):
    return b"".join(data[i : i + 1] for i in range(len(data)) if not any(s.start <= i < s.end for s in splices))


@given(st.lists(resources(), max_size=4), spaces)
def test_the_entries_of_a_bundle_are_its_pieces(drawn, space):
    pieces = [text.strip() for text, _members in drawn]
    joined = f"{space},{space}".join('{"resource"' + space + ":" + space + p + space + "}" for p in pieces)
    bundle = read_bundle(('{"resourceType":"Bundle","entry":' + space + "[" + space + joined + space + "]}").encode())
    assert [d.text for d in bundle.resources] == pieces
    assert [e["resource"] for e in bundle.tree["entry"]] == [m for _text, m in drawn]


@given(st.binary(max_size=60) | texts.map(lambda t: ("{" + t + "}").encode()))
def test_any_bytes_are_read_or_refused(data):
    for read in (read_resource, read_bundle):
        try:
            read(data)
        except RecordFault as fault:
            assert isinstance(fault, Malformed) or "larger" in str(fault) or "deeper" in str(fault)  # noqa: PT017 - either answer is right
        else:
            assert isinstance(json.loads(data), dict)
