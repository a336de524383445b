#!/usr/bin/env python3
"""Writes the seeds of the fuzz corpus from the test vectors: `python3 fuzz/seed.py`."""

import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent
VECTORS = HERE.parent / "tests" / "vectors"


def write(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")).write_bytes(data)


def load(name):
    return json.loads((VECTORS / name).read_text())


def main():
    for number, case in enumerate(load("identifiers.json")["cases"]):
        if number % 10 < 3 or case["kind"] not in ("container", "imo"):
            write("identifiers", f"{case['kind']}-{number}", case["text"].encode())
    records = load("records.json")
    for case in records["cases"]:
        write("record", case["name"], bytes.fromhex(case["record"]))
    for section in records["sections"]:
        body = bytes.fromhex(section["body"])
        write("body", f"section {section['index']}", bytes([section["tag"]]) + body)
        if section["tag"] == 1:  # a subject: its first field is a selector
            write("selector", "container", body[2:2 + body[1]])
    # A signed statement: its payload is the first field, of less than 256 bytes and more than 127.
    for case in records["cases"][::4]:
        signed = bytes.fromhex(case["statement"])
        length, start = (signed[1] & 127 | signed[2] << 7, 3) if signed[1] & 128 else (signed[1], 2)
        write("statement", case["name"], signed[start:start + length])
    registers = load("registers.json")
    for case in registers["epochs"] + registers["after_the_last"]:
        write("register", case["name"], bytes.fromhex(case["signed"]))
    for case in registers["requests"]:
        write("request", case["name"], bytes.fromhex(case["signed"]))
    exchange = load("exchange.json")
    for case in exchange["frames"]:
        write("frame", case["name"], bytes.fromhex(case["frame"]))
    for case in exchange["receipts"]:
        write("receipt", case["name"], bytes.fromhex(case["receipt"]))


if __name__ == "__main__":
    main()
