"""Whatever happened to a chart: an honest log passes, and any that was dropped from, cut, reordered or altered is found."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wallet_worlds import HOLDER, ChartWorld, faults
from tests.worlds import node_key
from yilian.base.artefacts import head_statement
from yilian.base.chartlogs import Head, Neighbour, Place, Standing, place_of, standing
from yilian.base.digests import key_tag, sha256
from yilian.base.merkle import inclusion_path, leaf_hash, root
from yilian.base.transaction import parse
from yilian.contracts import access, consent
from yilian.ledger import access_root

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("give"), st.just(0)),
        st.tuples(st.just("by_grant"), st.integers(0, 3)),
        st.tuples(st.just("own"), st.just(0)),
        st.tuples(st.just("skip"), st.just(0)),
        st.tuples(st.just("revoke"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(1, 20)),
        st.tuples(st.just("check"), st.just(0)),
    ),
    min_size=1,
    max_size=14,
)


def lived(steps, shows_roots):
    """Return the world after the steps, with one access at least, at an instant at which a check is due."""
    world = ChartWorld(shows_roots=shows_roots)
    world.enrol()
    live = [world.give()]
    for act, number in [*steps, ("own", 0)]:
        grant = live[number % len(live)] if live else None
        if act == "give":
            live.append(world.give())
        elif act == "by_grant" and grant is not None and world.entries[grant][2] < 20:
            world.read_by_grant(grant)
        elif act == "own":
            world.read_own()
        elif act == "skip":
            world.skip()
        elif act == "revoke" and grant is not None:
            live.remove(grant)
            world.revoke(grant)
        elif act == "wait":
            world.pass_days(number)
        elif act == "check":
            assert faults(world.check()) == []
    world.now_s += 5
    return world


def is_access(entry):
    return parse(entry.statement).kind in (access.RECORD, access.SKIP)


def places_with_entries(answers, wanted=is_access):
    return [(m, e) for m, answer in enumerate(answers) for e, entry in enumerate(answer.entries) if wanted(entry)]


def with_entries(answers, m, entries):
    return (*answers[:m], replace(answers[m], entries=tuple(entries)), *answers[m + 1 :])


def drop(world, answers, draw):
    m, e = draw(st.sampled_from(places_with_entries(answers)))
    return with_entries(answers, m, answers[m].entries[:e] + answers[m].entries[e + 1 :])


def cut(world, answers, draw):
    """Leave out the last entry of a series and make everything else fit: head, and the places of the tags that would come next."""
    series = [("own", month) for month, count in world.counts.items() if count]
    series += [("grant", control_key) for control_key, (_, _, count) in world.entries.items() if count]
    kind, name = draw(st.sampled_from(series))
    if kind == "own":
        world.counts[name] -= 1
        tag = key_tag(world.own_key(name, world.counts[name]).public_key)
        world.shown = [each for each in world.shown if parse(each[2]).body.get(1 if parse(each[2]).kind == access.SKIP else 4) != tag]
    else:
        row = consent.read(world.rows, name)
        world.rows.take(consent.write(replace(row, entries=row.entries - 1)))
        last = max(index for index, _, statement, _ in world.shown if parse(statement).body.get(2) == name)
        world.shown = [each for each in world.shown if each[0] != last]
    lied = world.answers()
    assert sum(len(answer.entries) for answer in lied) == sum(len(answer.entries) for answer in answers) - 1
    return lied


def alter_description(world, answers, draw):
    m, e = draw(st.sampled_from(places_with_entries(answers, lambda entry: entry.audit_event is not None)))
    entry = answers[m].entries[e]
    place = draw(st.integers(0, len(entry.audit_event) - 1))
    event = entry.audit_event[:place] + bytes([entry.audit_event[place] ^ 1]) + entry.audit_event[place + 1 :]
    entries = [replace(entry, audit_event=event) if each is entry else each for each in answers[m].entries]
    return with_entries(answers, m, entries)


def withhold_description(world, answers, draw):
    m, e = draw(st.sampled_from(places_with_entries(answers, lambda entry: entry.audit_event is not None)))
    entry = answers[m].entries[e]
    return with_entries(answers, m, [replace(each, audit_event=None) if each is entry else each for each in answers[m].entries])


def alter_statement(world, answers, draw):
    m, e = draw(st.sampled_from(places_with_entries(answers)))
    entry = answers[m].entries[e]
    place = draw(st.integers(0, len(entry.statement) - 1))
    said = entry.statement[:place] + bytes([entry.statement[place] ^ 1]) + entry.statement[place + 1 :]
    return with_entries(answers, m, [replace(each, statement=said) if each is entry else each for each in answers[m].entries])


def move(world, answers, draw):
    m, e = draw(st.sampled_from(places_with_entries(answers)))
    entry = answers[m].entries[e]
    index = draw(st.integers(0, world.size).filter(lambda each: each != entry.index))
    return with_entries(answers, m, [replace(each, index=index) if each is entry else each for each in answers[m].entries])


def sign_another_count(world, answers, draw):
    m = draw(st.integers(0, len(answers) - 1))
    answer = answers[m]
    count = draw(st.integers(0, 40).filter(lambda each: each != answer.head.count))
    digest = sha256(world.month_secret(answer.month))
    said = head_statement(world.network, world.relationship_key, answer.month, digest, count, answer.head.height)
    head = Head(count, answer.head.height, node_key(HOLDER).sign(said))
    return (*answers[:m], replace(answer, head=head), *answers[m + 1 :])


def forge_head(world, answers, draw):
    m = draw(st.integers(0, len(answers) - 1))
    return (*answers[:m], replace(answers[m], head=replace(answers[m].head, signature=bytes(64))), *answers[m + 1 :])


def withhold_proofs(world, answers, draw):
    """Leave out a closed day, or the state answers of the running one."""
    choices = [(m, d) for m, answer in enumerate(answers) for d in range(len(answer.days))]
    choices += [(m, None) for m, answer in enumerate(answers) if answer.state_answers or answer.open_days]
    m, d = draw(st.sampled_from(choices))
    answer = answers[m]
    changed = replace(answer, state_answers=(), open_days=()) if d is None else replace(answer, days=answer.days[:d] + answer.days[d + 1 :])
    return (*answers[:m], changed, *answers[m + 1 :])


def withhold_a_month(world, answers, draw):
    m = draw(st.integers(0, len(answers) - 1))
    return answers[:m] + answers[m + 1 :]


def sign_another_root(world, answers, draw):
    checkpoint = world.checkpoint(root=b"x" * 32).encoded()
    m = draw(st.integers(0, len(answers) - 1))
    shown = draw(st.sampled_from([(checkpoint,), (*answers[m].checkpoints, checkpoint)]))
    return (*answers[:m], replace(answers[m], checkpoints=shown), *answers[m + 1 :])


def vouch_alone(world, answers, draw):
    checkpoint = world.checkpoint(signer=HOLDER).encoded()
    m = draw(st.integers(0, len(answers) - 1))
    return (*answers[:m], replace(answers[m], checkpoints=(checkpoint,)), *answers[m + 1 :])


LIES = (
    drop,
    cut,
    alter_description,
    withhold_description,
    alter_statement,
    move,
    sign_another_count,
    forge_head,
    withhold_proofs,
    withhold_a_month,
    sign_another_root,
    vouch_alone,
)


@given(STEPS, st.booleans())
@settings(max_examples=30)
def test_an_honest_log_passes_whatever_happened(steps, shows_roots):
    world = lived(steps, shows_roots)
    report = world.check()
    assert faults(report) == []
    shown = [index for index, *_ in world.shown]
    assert [line.index for line in report.lines] == shown
    assert all(line.is_lawful for line in report.lines)
    assert faults(world.check()) == []  # and again, from what was remembered


@given(steps=STEPS, lie=st.sampled_from(LIES), remembers=st.booleans(), shows_roots=st.booleans(), data=st.data())
@settings(max_examples=120)
def test_any_log_that_lies_is_found(steps, lie, remembers, shows_roots, data):
    world = lived(steps, shows_roots)
    if remembers:
        assert faults(world.check()) == []
    lied = lie(world, world.answers(), data.draw)
    before = world.state
    report = world.check(lied)
    assert not report.is_clean
    assert lie is not cut or "TAIL_CUT" in faults(report)
    assert world.state == before  # a log that lies is not remembered
    for found in report.findings:
        assert found.zh
        assert found.en


@given(
    tags=st.lists(st.binary(min_size=16, max_size=16), unique=True, max_size=40).map(sorted),
    tag=st.binary(min_size=16, max_size=16),
)
def test_a_place_says_absent_or_present_and_never_the_other(tags, tag):
    day_root = access_root(tuple(tags))
    assert standing(place_of(tags, tag), len(tags), day_root) is (Standing.PRESENT if tag in tags else Standing.ABSENT)
    for present in tags:
        assert standing(place_of(tags, present), len(tags), day_root) is Standing.PRESENT


@given(count=st.integers(1, 40), at=st.integers(0, 39), left=st.integers(0, 39), right=st.integers(0, 39), data=st.data())
@settings(max_examples=300)
def test_no_two_tags_around_a_present_one_pass_for_neighbours_whatever_size_is_named(count, at, left, right, data):
    tags = [bytes([n]) * 16 for n in range(count)]
    at, left, right = at % count, left % count, right % count
    hashes = [leaf_hash(tag) for tag in tags]
    paths = [tuple(inclusion_path(hashes, n)) for n in range(count)]
    size = data.draw(st.integers(1, 64))
    position = data.draw(st.integers(0, size - 1))
    lies = [
        (Neighbour(position, tags[left], paths[left]), Neighbour(position + 1, tags[right], paths[right])),
        (None, Neighbour(0, tags[right], paths[right])),
        (Neighbour(size - 1, tags[left], paths[left]), None),
        (None, None),
    ]
    for one, other in lies:
        assert standing(Place(tags[at], one, other), size, root(hashes)) is not Standing.ABSENT
        assert standing(Place(tags[at], one, other), 0, root(hashes)) is not Standing.ABSENT
