#!/usr/bin/env python3
"""Makes the test vectors of the Portcullis protocol, without any of its code.

Hashes come from hashlib, Ed25519 from the `cryptography` package, protobuf from the thirty lines below; the formats
from docs/design.md and protocol/proto. Everything is derived from fixed seeds: a second run writes the same bytes.

    python3 tests/vectors/generate.py          writes the .json files beside this script
    python3 tests/vectors/generate.py --check  compares them and says which differ
"""

import hashlib
import json
import pathlib
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# ---- protobuf, as far as the contract needs it: fields ascending, defaults left out, enums packed ----


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while True:
        byte, number = number & 0x7F, number >> 7
        out.append(byte | 0x80 if number else byte)
        if not number:
            return bytes(out)


def field(number, value):
    """A field: int or bool as a varint, str or bytes with their length; nothing for a default."""
    if isinstance(value, (bool, int)):
        return varint(number << 3) + varint(int(value)) if value else b""
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data if data else b""


def message(number, data):
    """A submessage: it stands even when it is empty."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def packed(number, values):
    return field(number, b"".join(varint(value) for value in values))


def repeated(number, values):
    """Each value as a field of its own, empty ones too."""
    return b"".join(message(number, v.encode() if isinstance(v, str) else v) for v in values)


# ---- hashes and signatures ----


def labelled(label, *parts):
    return hashlib.sha256(label.encode() + b"\0" + b"".join(parts)).digest()


USE = {"sealing": 1, "hop": 2, "log": 3, "agreement": 4, "governance": 5, "person": 6}
PAYLOAD_TYPE = {
    name: f"application/vnd.portcullis.{name}.v1"
    for name in ["batch", "frame", "receipt", "register", "membership-request"]
}


class Key:
    """An Ed25519 key with its one use."""

    def __init__(self, use, seed):
        self.use, self.seed = use, bytes([seed]) * 32
        self.private = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = labelled("portcullis key v1", bytes([USE[use], 1]), self.public)

    def sign(self, payload_type, payload):
        return self.private.sign(pae(payload_type, payload))


def pae(payload_type, payload):
    """DSSE v1 pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)


def statement(kind, payload, key, key_id=None, signature=None):
    """A SignedStatement."""
    signature = signature or key.sign(PAYLOAD_TYPE[kind], payload)
    return field(1, payload) + field(2, key_id or key.id) + field(3, signature)


def node(left, right):
    return labelled("portcullis batch node v1", left, right)


def tree(leaves):
    """The levels of a tree over a power of two of leaves, the root last."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node(below[i], below[i + 1]) for i in range(0, len(below), 2)])
    return levels


def path(levels, leaf):
    return [level[(leaf >> height) ^ 1] for height, level in enumerate(levels[:-1])]


def padded_root(leaves):
    size = 1
    while size < len(leaves):
        size *= 2
    filler = labelled("portcullis tree filler v1")
    return tree(leaves + [filler] * (size - len(leaves)))[-1][0]


def flip(data, bit):
    out = bytearray(data)
    out[bit // 8] ^= 1 << (bit % 8)
    return bytes(out)


# ---- records ----

FEDERATION, ORIGIN, NOW = "eu-ports", "kr-customs-40", 1_614_585_600_000  # 2021-03-01T08:00:00Z
SEALING = Key("sealing", 1)
SUBJECT, ASSESSMENT, NARRATIVE, SOURCE, PERSONS, CELLS = 1, 2, 3, 4, 5, 7
DAY = 86_400_000


def selector(kind, value, window=None, unchecked=False):
    start, end = window or (0, 0)
    return field(1, kind) + field(2, value) + field(3, start) + field(4, end) + field(5, unchecked)


def subject(*selectors, title="container with a second seal"):
    return repeated(1, selectors) + field(2, title)


CONTAINER = selector(1, "CSQU3054383", (NOW, NOW + DAY))
BODIES = [
    (SUBJECT, subject(CONTAINER, selector(2, "9074729"))),
    (ASSESSMENT, field(1, "narcotics")),
    (NARRATIVE, field(1, "seen twice at the back gate")),
    (SOURCE, field(1, "a dock worker")),
]


class Record:
    """A record that its originator makes; every part can be set to something wrong before it is signed."""

    def __init__(self, bodies=BODIES, name="record"):
        def seeded(what, length):
            return hashlib.sha256(f"{name} {what}".encode()).digest()[:length]

        self.version, self.federation, self.kind, self.origin = 1, FEDERATION, 1, ORIGIN
        self.key_id, self.sealed_at, self.audience = SEALING.id, NOW, ["NLRTM"]
        self.marking = marking()
        self.evaluation = field(1, "B") + field(2, 2)
        self.groups, self.links = [[0, 1]], b""
        self.root, self.blind = seeded("root", 16), seeded("blind", 16)
        self.sections = [
            {"index": i, "tag": tag, "salt": seeded(f"salt {i}", 16), "body": body, "stricter": None, "least": 0}
            for i, (tag, body) in enumerate(bodies)
        ]
        self.decoys = [(len(bodies), PERSONS, seeded("decoy", 32))]

    def digest(self, section):
        parts = section["tag"].to_bytes(2, "big") + section["index"].to_bytes(2, "big")
        return labelled("portcullis section v1", section["salt"], parts, section["body"])

    def table(self):
        real = [
            field(1, s["index"]) + field(2, s["tag"]) + field(3, s.get("digest") or self.digest(s))
            + (message(4, s["stricter"]) if s["stricter"] is not None else b"") + field(5, s["least"])
            for s in self.sections
        ]
        return real + [field(1, index) + field(2, tag) + field(3, digest) for index, tag, digest in self.decoys]

    def header(self):
        return (
            field(1, self.version) + field(2, self.federation) + field(3, self.kind) + field(4, self.origin)
            + field(5, self.key_id) + field(6, self.sealed_at) + repeated(8, self.audience) + message(9, self.marking)
            + message(10, self.evaluation) + repeated(11, [packed(1, group) for group in self.groups]) + self.links
            + field(14, self.root) + repeated(15, self.table())
        )

    def id(self):
        return labelled("portcullis record v1", self.header())

    def leaf(self):
        return labelled("portcullis batch leaf v1", self.blind, self.id())

    def wire(self, form, leaf=0, siblings=(), header=None, blind=None):
        opened = [s for s in self.sections if form >> s["index"] & 1]
        return record_wire(header or self.header(), opened, blind or self.blind, leaf, b"".join(siblings))


def record_wire(header, opened, blind, leaf, siblings):
    sections = [field(1, s["index"]) + field(2, s["salt"]) + field(3, s["body"]) for s in opened]
    return field(1, header) + repeated(2, sections) + field(4, blind) + field(5, leaf) + field(6, siblings)


def marking(tlp=3, pap=2, purposes=(1, 2), release_to=(), relay=True, review=0, delete=0):
    return (
        field(1, tlp) + field(2, pap) + packed(7, purposes) + repeated(8, release_to) + field(9, relay)
        + field(12, review) + field(13, delete)
    )


def batch(root, size=1, federation=FEDERATION, origin=ORIGIN, key=SEALING, sealed_at=NOW, key_id=None):
    return (
        field(1, federation) + field(2, origin) + field(3, key_id or key.id) + field(4, sealed_at) + field(5, size)
        + field(6, root)
    )


def alone(record, form=0b1111, wire=None, key=SEALING, signature=None, **changes):
    """A record in a batch of one: its encoding and its statement's."""
    payload = batch(record.leaf(), key=key, **changes)
    return wire or record.wire(form), statement("batch", payload, key, signature=signature)


def changed(**changes):
    record = Record()
    for name, value in changes.items():
        assert hasattr(record, name), name
        setattr(record, name, value)
    return record


def with_section(at, record=None, **changes):
    record = record or Record()
    record.sections[at].update(changes)
    return record


def on_the_way(change, form=0b1111):
    """A good record of which the opened sections were changed after sealing."""
    record = Record()
    opened = [dict(s) for s in record.sections if form >> s["index"] & 1]
    opened = change(opened) or opened
    return alone(record, wire=record_wire(record.header(), opened, record.blind, 0, b""))


def set_at(at, **changes):
    return lambda opened: opened[at].update(changes)


def record_cases():
    good = Record()
    yield "every section open", "ok", alone(good)
    for form in [0b0011, 0b0100, 0b1000, 0b1100, 0b0111]:
        yield f"form {form:04b}", "ok", alone(good, form)
    yield "sealed ten minutes ahead", "ok", alone(changed(sealed_at=NOW + 600_000), sealed_at=NOW + 600_000)
    section = field(1, 5) + field(2, 4) + field(4, True)
    yield "a section marked stricter", "ok", alone(with_section(3, stricter=section))
    admiralty = field(1, "C") + field(2, 4) + field(3, "C3")
    yield "an evaluation mapped from Admiralty C3", "ok", alone(changed(evaluation=admiralty))
    links = repeated(12, [bytes([7]) * 32]) + field(13, bytes([8]) * 32)
    yield "derived from one record and superseding another", "ok", alone(changed(links=links))
    red = marking(tlp=5, release_to=["kr-police"])
    yield "TLP:RED with a named recipient", "ok", alone(changed(marking=red))
    yield "a risk profile", "ok", alone(profile(), 0b1)
    yield "an outcome with a finding", "ok", alone(with_section(1, changed(kind=4), body=field(1, "x") + field(2, 1)))

    four = [Record(name=f"batch {i}") for i in range(4)]
    leaves = [record.leaf() for record in four]
    levels = tree(leaves)
    signed = statement("batch", batch(levels[-1][0], size=4), SEALING)
    for place, record in enumerate(four):
        wire = record.wire(0b1111, place, path(levels, place))
        yield f"leaf {place} of a batch of four", "ok", (wire, signed)
    siblings = path(levels, 0)
    yield "another leaf", "RE-14", (four[0].wire(0b1111, 1, siblings), signed)
    yield "a path one short", "RE-13", (four[0].wire(0b1111, 0, siblings[:1]), signed)
    yield "a path one too long", "RE-13", (four[0].wire(0b1111, 0, siblings + [bytes(32)]), signed)
    yield "a leaf beyond the tree", "RE-13", (four[0].wire(0b1111, 4, siblings), signed)
    yield "an inner node for a leaf", "RE-13", (four[0].wire(0b1111, 0, siblings[1:]), signed)
    collapsed = statement("batch", batch(levels[-1][0], size=2), SEALING)
    yield "a tree signed as half its size", "RE-14", (four[0].wire(0b1111, 0, siblings[1:]), collapsed)
    bent = [siblings[0], flip(siblings[1], 5)]
    yield "a path with a flipped bit", "RE-14", (four[0].wire(0b1111, 0, bent), signed)
    yield "another blind", "RE-14", alone(good, wire=good.wire(0b1111, blind=flip(good.blind, 0)))
    yield "a blind of 15 bytes", "RE-13", alone(good, wire=good.wire(0b1111, blind=good.blind[:15]))

    yield "a header that is no protobuf", "RE-01", alone(good, wire=good.wire(0b1111, header=b"\xff" * 9))
    yield "version 0", "RE-01", alone(changed(version=0))
    yield "version 2", "ok", alone(changed(version=2))
    yield "version 3", "RE-20", alone(changed(version=3))
    yield "a field of a later version in the header", "RE-20", later_header(good)
    yield "a field of a later version in the marking", "RE-20", alone(changed(marking=marking() + field(127, 1)))
    yield "a purpose of a later version", "RE-20", alone(changed(marking=marking(purposes=(1, 9))))
    yield "a field of a later version in a body", "RE-20", alone(
        with_section(2, body=BODIES[2][1] + field(127, 1)))
    yield "more records than one may be derived from", "RE-21", alone(
        changed(links=repeated(12, [i.to_bytes(32, "big") for i in range(257)])))
    yield "more files than a section may have", "RE-21", alone(
        Record(list(BODIES) + [(6, repeated(1, [b""] * 257))]), 0b11111)
    yield "derived from one record twice", "RE-01", alone(changed(links=repeated(12, [bytes([7]) * 32] * 2)))
    yield "a place in lower case", "RE-01", alone(changed(audience=["nlrtm"]))
    yield "a root tag of 15 bytes", "RE-01", alone(changed(root=bytes(15)))
    yield "an Admiralty code that maps elsewhere", "RE-01", alone(
        changed(evaluation=field(1, "A") + field(2, 1) + field(3, "C3")))
    yield "a group of one", "RE-01", alone(changed(groups=[[0]]))
    yield "purposes out of order", "RE-01", alone(changed(marking=marking(purposes=(2, 1))))
    yield "a header of another federation", "RE-02", alone(changed(federation="us-ports"))
    yield "a statement of another federation", "RE-02", alone(good, federation="us-ports")
    for kind in [0, 6, 7, 8, 9]:
        yield f"kind {kind}", "RE-03", alone(changed(kind=kind))
    yield "a repeated index in the table", "RE-04", alone(with_section(3, index=2), 0b0011)
    yield "an index of 64", "RE-04", alone(changed(decoys=[(64, PERSONS, bytes(32))]))
    yield "a table digest of 31 bytes", "RE-04", alone(changed(decoys=[(4, PERSONS, bytes(31))]))
    yield "an unknown tag", "RE-20", alone(changed(decoys=[(4, 8, bytes(32))]))
    extra = {"index": 9, "salt": bytes(16), "body": b"x"}
    yield "a section added on the way", "RE-05", on_the_way(lambda opened: opened + [extra])
    yield "a section twice", "RE-06", on_the_way(lambda opened: opened + opened[-1:])
    yield "sections out of order", "RE-06", on_the_way(lambda opened: opened[:2] + [opened[3], opened[2]])
    yield "a salt of 15 bytes", "RE-07", on_the_way(set_at(2, salt=bytes(15)))
    yield "a section marked TLP:GREEN", "RE-08", alone(with_section(2, stricter=field(1, 2)))
    yield "nothing opened", "RE-09", alone(good, 0)
    yield "a subject without its assessment", "RE-10", alone(good, 0b1101)
    yield "an assessment without its subject", "RE-10", alone(good, 0b0010)
    yield "a body with a flipped bit", "RE-11", on_the_way(set_at(2, body=flip(BODIES[2][1], 30)))
    yield "a salt with a flipped bit", "RE-11", on_the_way(set_at(2, salt=flip(good.sections[2]["salt"], 0)))
    yield "salts swapped", "RE-11", on_the_way(swapped_salts)
    decoy = {"index": 4, "salt": bytes(16), "body": b""}
    yield "a decoy opened", "RE-11", on_the_way(lambda opened: opened + [decoy])
    bad_digit = subject(selector(1, "CSQU3054384", (NOW, NOW + DAY)))
    yield "a wrong check digit", "RE-12", alone(with_section(0, body=bad_digit))
    flagged = subject(selector(1, "CSQU3054384", (NOW, NOW + DAY), unchecked=True))
    yield "a wrong check digit that is flagged", "ok", alone(with_section(0, body=flagged))
    yield "a right check digit that is flagged", "RE-12", alone(
        with_section(0, body=subject(selector(1, "CSQU3054383", (NOW, NOW + DAY), unchecked=True))))
    yield "a container without a window", "RE-12", alone(with_section(0, body=subject(selector(1, "CSQU3054383"))))
    yield "a finding in an indicator", "RE-12", alone(with_section(1, body=field(1, "x") + field(2, 1)))
    yield "another least count", "RE-12", alone(with_section(0, profile(), least=4), 0b1)
    yield "a tree of three", "RE-15", (good.wire(0b1111), statement("batch", batch(good.leaf(), size=3), SEALING))
    yield "a statement that is no protobuf", "RE-15", (good.wire(0b1111), statement("batch", b"\xff", SEALING))
    yield "a statement that names another key", "RE-15", alone(good, key_id=bytes(32))
    yield "another origin in the header", "RE-16", alone(changed(origin="kr-police"))
    yield "another time in the header", "RE-16", alone(changed(sealed_at=NOW + 1))
    yield "a subject in a risk profile", "RE-17", alone(changed(kind=5))
    yield "TLP:RED for nobody", "RE-19", alone(changed(marking=marking(tlp=5)))
    yield "no purpose", "RE-19", alone(changed(marking=marking(purposes=())))
    yield "a review after the deletion", "RE-19", alone(changed(marking=marking(review=NOW + DAY, delete=NOW)))
    stranger = Key("sealing", 9)
    yield "a key that is not in the register", "EX-07", alone(changed(key_id=stranger.id), key=stranger)
    yield "a signature with a flipped bit", "EX-08", (
        good.wire(0b1111),
        statement("batch", batch(good.leaf()), SEALING,
                  signature=flip(SEALING.sign(PAYLOAD_TYPE["batch"], batch(good.leaf())), 9)))
    yield "a signature over the bare payload", "EX-08", alone(good, signature=SEALING.private.sign(batch(good.leaf())))
    yield "a signature for another payload type", "EX-08", alone(
        good, signature=SEALING.sign(PAYLOAD_TYPE["frame"], batch(good.leaf())))
    yield "a key that has ended", "EX-09", alone(changed(key_id=ENDED.id), key=ENDED)
    ahead = NOW + 600_001
    yield "sealed more than ten minutes ahead", "EX-16", alone(changed(sealed_at=ahead), sealed_at=ahead)


def later_header(record):
    """A record signed over a header with a field that this version does not know."""
    header = record.header() + field(127, 1)
    leaf = labelled("portcullis batch leaf v1", record.blind, labelled("portcullis record v1", header))
    return record.wire(0b1111, header=header), statement("batch", batch(leaf), SEALING)


ENDED = Key("sealing", 3)


def swapped_salts(opened):
    opened[2]["salt"], opened[3]["salt"] = opened[3]["salt"], opened[2]["salt"]


def profile():
    cells = [repeated(1, ["84"]) + field(2, 5) + field(3, 1), repeated(1, ["85"]) + field(2, 7)]
    body = (
        field(1, bytes([1]) * 32) + field(2, "2020") + repeated(3, [ORIGIN]) + field(4, 1) + field(5, 1)
        + repeated(6, cells)
    )
    record = Record([(CELLS, body)], name="profile")
    record.kind, record.groups, record.decoys = 5, [], []
    record.sections[0]["least"] = 5
    return record


def records():
    cases = []
    for name, expected, (wire, signed) in record_cases():
        cases.append({"name": name, "record": wire.hex(), "statement": signed.hex(), "expect": expected})
    good = Record()
    return {
        "federation": FEDERATION, "origin": ORIGIN, "now_ms": NOW,
        "keys": [
            {"public": SEALING.public.hex(), "id": SEALING.id.hex(), "ended_ms": 0},
            {"public": ENDED.public.hex(), "id": ENDED.id.hex(), "ended_ms": NOW - DAY},
        ],
        "header": good.header().hex(), "id": good.id().hex(), "blind": good.blind.hex(), "leaf": good.leaf().hex(),
        "sections": [
            {"index": s["index"], "tag": s["tag"], "salt": s["salt"].hex(), "body": s["body"].hex(),
             "digest": good.digest(s).hex()}
            for s in good.sections
        ],
        "cases": cases,
    }


# ---- identifiers ----


def container_check_digit(first_ten):
    """ISO 6346: letter values skip the multiples of 11; position 0 stands at the left."""
    values, value = {}, 10
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        value += value % 11 == 0
        values[letter] = value
        value += 1
    total = sum((values.get(c) or int(c)) << i for i, c in enumerate(first_ten))
    return total % 11 % 10


def imo_check_digit(first_six):
    return sum(int(digit) * weight for digit, weight in zip(first_six, range(7, 1, -1))) % 10


def identifiers():
    cases = []

    def case(kind, text, canonical):
        cases.append({"kind": kind, "text": text, "canonical": canonical})

    for first_ten in ["CSQU305438", "MWCU605978", "MSKU000008", "TRLU123456", "APZU000001", "ZZZJ999999", "AAAZ000000"]:
        digit = container_check_digit(first_ten)
        for last in range(10):
            text = f"{first_ten}{last}"
            case("container", text, text if last == digit else None)
    for first_six in ["907472", "981100", "932148", "100000", "999999"]:
        for last in range(10):
            text = f"{first_six}{last}"
            case("imo", text, text if last == imo_check_digit(first_six) else None)
    for kind, good, bad in [
        ("container", [], ["CSQA3054383", "CSQU305438", "CSQU30543830", "", "CSQU 305438 3 "]),
        ("mmsi", ["244123456", "440123456", "002442000", "111244001", "992440001", "970123456"],
         ["24412345", "2441234567", "200123456", "776123456", "A44123456", ""]),
        ("eori", ["NL123456789", "XI123456789000", "FRX1"],
         ["nl", "NL", "N1123", "NL1234567890123456", "NL 1", ""]),
        ("unlocode", ["NLRTM", "BEANR", "KRPUS", "US2C9"], ["NLRT", "NLRTMX", "N1RTM", "NLRT1", "NLRT0", ""]),
    ]:
        for text in good:
            case(kind, text, text)
        for text in bad:
            case(kind, text, None)
    return {"cases": cases}


# ---- digests, keys, signatures, trees ----


def digests():
    keys = []
    for use in ["sealing", "hop", "log", "governance", "person"]:
        key = Key(use, 1)
        keys.append({"use": use, "seed": key.seed.hex(), "public": key.public.hex(), "id": key.id.hex()})
    x25519 = bytes([9]) * 32
    agreement = labelled("portcullis key v1", bytes([USE["agreement"], 2]), x25519)
    keys.append({"use": "agreement", "seed": None, "public": x25519.hex(), "id": agreement.hex()})
    signatures = []
    for payload in [b"", b"hello world", bytes(range(256))]:
        key = Key("sealing", 1)
        signatures.append({
            "payload": payload.hex(), "pae": pae(PAYLOAD_TYPE["batch"], payload).hex(), "key": key.public.hex(),
            "seed": key.seed.hex(), "signature": key.sign(PAYLOAD_TYPE["batch"], payload).hex(),
        })
    trees = []
    for size in [1, 2, 4, 8, 1024]:
        levels = tree([labelled("leaf", i.to_bytes(4, "big")) for i in range(size)])
        shown = sorted({0, 1 % size, size // 2, size - 1})
        trees.append({
            "size": size, "root": levels[-1][0].hex(),
            "paths": [{"leaf": i, "path": [digest.hex() for digest in path(levels, i)]} for i in shown],
        })
    return {
        "labelled": [
            {"label": label, "parts": [part.hex() for part in parts], "digest": labelled(label, *parts).hex()}
            for label, parts in [("portcullis record v1", [b"abc"]), ("portcullis record v1", [b"a", b"bc"]),
                                 ("portcullis tree filler v1", []), ("x", [b""])]
        ],
        "keys": keys, "payload_type": PAYLOAD_TYPE["batch"], "signatures": signatures,
        "leaf_label": "leaf", "trees": trees,
    }


# ---- the register ----

GOVERNANCE = [Key("governance", seed) for seed in (200, 201, 202)]


def wire_key(key, retired=0, compromised=0):
    return field(1, USE[key.use]) + field(2, 1) + field(3, key.public) + field(4, retired) + field(5, compromised)


def wire_node(name, keys, anchor):
    agreement = field(1, USE["agreement"]) + field(2, 2) + field(3, bytes([anchor]) * 32)
    return (
        field(1, name) + field(2, f"{name}.example") + field(3, f"urn:portcullis:{FEDERATION}:{name}")
        + field(4, f"{name}.example:7443") + field(5, bytes([anchor]) * 40)
        + repeated(6, [wire_key(key) for key in keys] + [agreement])
    )


def wire_authority(name, kind, node_wire):
    return (
        field(1, name) + field(2, f"Authority {name}") + field(3, kind) + field(4, "KR") + field(5, "finance")
        + field(6, 3) + repeated(7, ["ports"]) + repeated(9, [node_wire]) + field(10, "duty officer")
    )


SENDER_HOP, RECEIVER_HOP = Key("hop", 11), Key("hop", 21)
CUSTOMS_KEYS = [SEALING, SENDER_HOP, Key("log", 12)]
CUSTOMS = wire_authority(ORIGIN, 1, wire_node("customs-n1", CUSTOMS_KEYS, 30))
POLICE = wire_authority("kr-police", 2, wire_node("police-n1", [Key("sealing", 20), RECEIVER_HOP], 31))


def register(epoch, previous, threshold=2, governance=None, members=(CUSTOMS, POLICE), federation=FEDERATION,
             development=False):
    governance = governance if governance is not None else [wire_key(key) for key in GOVERNANCE]
    return (
        field(1, federation) + field(2, epoch) + field(3, previous) + field(4, development) + field(5, threshold)
        + repeated(6, governance) + repeated(7, members) + field(8, NOW)
    )


def signed(kind, payload, keys):
    signatures = [field(1, key.id) + field(2, key.sign(PAYLOAD_TYPE[kind], payload)) for key in keys]
    return field(1, payload) + repeated(2, signatures)


def registers():
    first = register(1, b"")
    pin = labelled("portcullis register v1", first)
    second = register(2, pin)
    after = labelled("portcullis register v1", second)
    new = [Key("governance", 210), Key("governance", 211)]
    taken = register(2, pin, governance=[wire_key(key) for key in new])
    two = GOVERNANCE[:2]
    epochs = [("the first epoch", first, two), ("the second epoch", second, two)]
    third = register(3, after, threshold=3)
    cases = [
        ("the third epoch", "ok", third, GOVERNANCE),
        ("one signature of two", "RG-03", register(3, after), GOVERNANCE[:1]),
        ("one key twice", "RG-03", register(3, after), [GOVERNANCE[0], GOVERNANCE[0]]),
        ("too few for its own threshold", "RG-03", third, two),
        ("strangers' signatures", "RG-03", register(3, after), new),
        ("the epoch that is held", "RG-04", second, two),
        ("the first epoch again", "RG-04", first, two),
        ("an epoch skipped", "RG-04", register(4, after), two),
        ("a fork", "RG-05", register(3, labelled("portcullis register v1", taken)), two),
        ("another federation", "RG-02", register(3, after, federation="us-ports", members=()), two),
        ("threshold zero", "RG-07", register(3, after, threshold=0), two),
        ("a threshold that is never met", "RG-07", register(3, after, threshold=4), GOVERNANCE),
        ("become a development federation", "RG-07", register(3, after, development=True), two),
        ("an authority twice", "RG-07", register(3, after, members=(CUSTOMS, CUSTOMS)), two),
        ("a governance key twice", "RG-07",
         register(3, after, governance=[wire_key(GOVERNANCE[0])] * 2 + [wire_key(GOVERNANCE[1])]), two),
        ("a compromised governance key", "RG-07",
         register(3, after, governance=[wire_key(key, compromised=NOW) for key in GOVERNANCE]), two),
        ("a person's key", "RG-07", register(3, after, members=(
            wire_authority(ORIGIN, 1, wire_node("customs-n1", [Key("person", 1)], 30)),)), two),
        ("no protobuf", "RG-01", b"\xff", two),
    ]
    request = field(1, FEDERATION) + message(2, CUSTOMS) + field(3, NOW)
    return {
        "pin": pin.hex(),
        "epochs": [{"name": name, "signed": signed("register", payload, keys).hex(),
                    "digest": labelled("portcullis register v1", payload).hex()} for name, payload, keys in epochs],
        "after_the_last": [{"name": name, "signed": signed("register", payload, keys).hex(), "expect": expected}
                           for name, expected, payload, keys in cases],
        "first": [
            {"name": "not the pinned one", "signed": signed("register", register(1, b"", threshold=1), two).hex(),
             "expect": "RG-06"},
            {"name": "too few signatures", "signed": signed("register", first, two[:1]).hex(), "expect": "RG-03"},
        ],
        "requests": [
            {"name": "signed by all its keys",
             "signed": signed("membership-request", request, CUSTOMS_KEYS).hex(), "expect": "ok"},
            {"name": "one key has not signed",
             "signed": signed("membership-request", request, CUSTOMS_KEYS[:2]).hex(), "expect": "RG-08"},
            {"name": "signed as something else",
             "signed": signed("register", request, CUSTOMS_KEYS).hex(), "expect": "RG-08"},
        ],
    }


# ---- frames and receipts ----

GENERATION = bytes([3]) * 16


def exchange():
    four = [Record(name=f"batch {i}") for i in range(3)]
    filler = [labelled("any leaf", b"")]
    levels = tree([record.leaf() for record in four] + filler)
    statement_of_batch = statement("batch", batch(levels[-1][0], size=4), SEALING)
    forms = [0b1111, 0b0011, 0b0100]
    wires = [record.wire(form, i, path(levels, i)) for i, (record, form) in enumerate(zip(four, forms))]
    items = [(record.id(), form) for record, form in zip(four, forms)]

    def item(record_id, form):
        return labelled("portcullis frame item v1", record_id, form.to_bytes(8, "big"))

    # Two frames were settled before: one of 30 items, one of 7.
    settled = [labelled("portcullis frame v1", bytes([n])) for n in (1, 2)]
    chain = bytes(32)
    for digest_of_settled in settled:
        chain = labelled("portcullis chain v1", chain, digest_of_settled)

    def payload(federation=FEDERATION, sender="customs-n1", receiver="police-n1", lane=2, sequence=41, count=3,
                root=padded_root([item(*i) for i in items]), settled=38, chain=chain):
        return (
            field(1, federation) + field(2, sender) + field(3, receiver) + field(4, GENERATION) + field(5, lane)
            + field(6, sequence) + field(7, count) + field(8, root) + field(9, NOW) + field(10, 2)
            + field(11, settled) + field(12, chain)
        )

    def frame(body, key=SENDER_HOP, records=wires, **kwargs):
        signed_payload = statement("frame", body, key, **kwargs)
        return message(1, signed_payload) + repeated(2, [statement_of_batch]) + repeated(3, records)

    good = payload()
    bent = SENDER_HOP.sign(PAYLOAD_TYPE["receipt"], good)
    frames = [
        ("three records in three forms", "ok", frame(good)),
        ("no records", "EX-01", frame(good, records=[])),
        ("lane 0", "EX-01", frame(payload(lane=0))),
        ("sequence 0", "EX-01", frame(payload(sequence=0))),
        ("nothing settled and no chain", "ok", frame(payload(settled=1, chain=bytes(32)))),
        ("settled 0", "EX-01", frame(payload(settled=0, chain=bytes(32)))),
        ("settled beyond itself", "EX-01", frame(payload(settled=42))),
        ("a chain of 31 bytes", "EX-01", frame(payload(chain=chain[:31]))),
        ("a chain and nothing settled", "EX-01", frame(payload(settled=1))),
        ("settled and no chain", "EX-01", frame(payload(chain=bytes(32)))),
        ("as far ahead as a window holds", "ok", frame(payload(sequence=38 + 8192))),
        ("further ahead than a window holds", "EX-10", frame(payload(sequence=39 + 8192))),
        ("another federation", "EX-02", frame(payload(federation="us-ports"))),
        ("another receiver", "EX-03", frame(payload(receiver="port-n1"))),
        ("another sender", "EX-04", frame(payload(sender="port-n1"))),
        ("the receiver's own key", "EX-05", frame(good, key=RECEIVER_HOP)),
        ("a signature for another payload type", "EX-05", frame(good, signature=bent)),
        ("a record removed", "EX-06", frame(good, records=wires[:2])),
        ("records reordered", "EX-06", frame(good, records=[wires[1], wires[0], wires[2]])),
        ("another form", "EX-06", frame(good, records=[four[0].wire(0b0011, 0, path(levels, 0))] + wires[1:])),
        ("another count", "EX-06", frame(payload(count=2))),
    ]

    # accepted; refused under EX-07; held under PO-03
    answers = [(items[0], 1, ""), (items[1], 4, "EX-07"), (items[2], 6, "PO-03")]
    frame_digest = labelled("portcullis frame v1", good)

    def answer(item_, outcome, reason):
        return field(1, item_[0]) + field(2, item_[1]) + field(3, outcome) + field(4, reason)

    def answer_digest(item_, outcome, reason):
        return labelled("portcullis answer v1", item_[0], item_[1].to_bytes(8, "big"), outcome.to_bytes(4, "big"),
                        reason.encode())

    def receipt_payload(said=answers, digest=frame_digest, count=None, root=None, sequence=41, receiver="police-n1"):
        root = root or padded_root([answer_digest(*a) for a in said])
        return (
            field(1, FEDERATION) + field(2, "customs-n1") + field(3, receiver) + field(4, GENERATION) + field(5, 2)
            + field(6, sequence) + field(7, len(said) if count is None else count) + field(8, digest) + field(9, root)
            + field(10, 2) + field(11, NOW + 5) + field(12, 4)
        )

    def receipt(body, said=answers, key=RECEIVER_HOP, refused="", **kwargs):
        return (
            message(1, statement("receipt", body, key, **kwargs)) + repeated(2, [answer(*a) for a in said])
            + field(3, refused)
        )

    swapped = [answers[1], answers[0], answers[2]]
    reasoned = [(items[0], 1, "EX-07")] + answers[1:]
    refusal_root = labelled("portcullis frame refusal v1", b"EX-10")
    refusal = receipt_payload([], root=refusal_root)
    receipts = [
        ("an answer to each item", "ok", receipt(receipt_payload())),
        ("the whole frame refused", "ok", receipt(refusal, [], refused="EX-10")),
        ("signed by the sender", "EX-13", receipt(receipt_payload(), key=SENDER_HOP)),
        ("signed as a frame", "EX-13", receipt(
            receipt_payload(), signature=RECEIVER_HOP.sign(PAYLOAD_TYPE["frame"], receipt_payload()))),
        ("another frame", "EX-14", receipt(receipt_payload(digest=bytes(32)))),
        ("another place", "EX-14", receipt(receipt_payload(sequence=42))),
        ("another receiver", "EX-14", receipt(receipt_payload(receiver="port-n1"))),
        ("another count", "EX-14", receipt(receipt_payload(count=2))),
        ("answers reordered on the way", "EX-14", receipt(receipt_payload(), swapped)),
        ("answers reordered by the receiver", "EX-14", receipt(receipt_payload(swapped), swapped)),
        ("an outcome changed on the way", "EX-14", receipt(receipt_payload(), [(items[0], 3, "")] + answers[1:])),
        ("an acceptance with a reason", "EX-14", receipt(receipt_payload(reasoned), reasoned)),
        ("a refusal with another reason", "EX-14", receipt(refusal, [], refused="EX-15")),
        ("an answer made a refusal", "EX-14", receipt(receipt_payload(), [], refused="EX-10")),
    ]
    return {
        "federation": FEDERATION, "now_ms": NOW,
        "sender": {"node": "customs-n1", "hop_key": SENDER_HOP.public.hex(), "hop_seed": SENDER_HOP.seed.hex()},
        "receiver": {"node": "police-n1", "hop_key": RECEIVER_HOP.public.hex()},
        "generation": GENERATION.hex(), "lane": "bulk", "first_sequence": 41, "sent_at_ms": NOW, "register_epoch": 2,
        "settled_sequence": 38, "settled": [digest_of_settled.hex() for digest_of_settled in settled],
        "chain": chain.hex(), "credit": 4,
        "sealing": {"origin": ORIGIN, "public": SEALING.public.hex()},
        "items": [{"id": record_id.hex(), "form": form} for record_id, form in items],
        "frames": [{"name": name, "frame": wire.hex(), "expect": expected} for name, expected, wire in frames],
        "receipts": [{"name": name, "receipt": wire.hex(), "expect": expected} for name, expected, wire in receipts],
    }


FILES = {
    "identifiers.json": identifiers, "digests.json": digests, "records.json": records, "registers.json": registers,
    "exchange.json": exchange,
}


def main():
    here = pathlib.Path(__file__).parent
    differing = []
    for name, make in FILES.items():
        text = json.dumps(make(), indent=1) + "\n"
        if "--check" not in sys.argv:
            (here / name).write_text(text)
        elif not (here / name).exists() or (here / name).read_text() != text:
            differing.append(name)
    if differing:
        sys.exit(f"these vectors differ from what this script makes: {', '.join(differing)}")


if __name__ == "__main__":
    main()
