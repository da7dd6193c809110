#!/usr/bin/env python3
"""Verifies a tile log, from the C2SP specifications and nothing of Plinth's.

    verify.py (--dir PATH | --url URL) --key VKEY [--key VKEY ...] [--witness VKEY ... --quorum N]

Checks the checkpoint's signatures, every record against its tile, every tile against
the one above, and the last hash against the checkpoint's root.

Exit codes: 0 ok, 1 tampered, 2 incomplete, 3 wrong use.
"""

import argparse
import base64
import hashlib
import re
import struct
import sys
import urllib.error
import urllib.request
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH = 256
ED25519, COSIGNATURE = 0x01, 0x04


class Tampered(Exception):
    """Something contradicts what was signed."""


class Incomplete(Exception):
    """Something is missing."""


# --- hashes (RFC 6962) ---


def leaf_hash(record):
    return hashlib.sha256(b"\x00" + record).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(hashes):
    """The root over leaves, or over the equally large subtrees that these are the roots of."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node_hash(root_of(hashes[:split]), root_of(hashes[split:]))


# --- signed notes (c2sp.org/signed-note, c2sp.org/tlog-cosignature) ---


class Key:
    def __init__(self, text):
        self.name, key_id, encoded = text.split("+", 2)
        key = base64.b64decode(encoded, validate=True)
        self.type, public = key[0], key[1:]
        if self.type not in (ED25519, COSIGNATURE) or len(public) != 32:
            raise ValueError(f"only Ed25519 keys are known here: {text}")
        self.id = hashlib.sha256(self.name.encode() + b"\n" + key).digest()[:4]
        if self.id.hex() != key_id:
            raise ValueError(f"the key ID does not belong to the key: {text}")
        self.public = Ed25519PublicKey.from_public_bytes(public)

    def check(self, text, signature):
        """Raises InvalidSignature."""
        if self.type == COSIGNATURE:
            if len(signature) != 8 + 64:
                raise InvalidSignature
            (time,) = struct.unpack(">Q", signature[:8])
            text, signature = f"cosignature/v1\ntime {time}\n{text}", signature[8:]
        self.public.verify(signature, text.encode())


def signers(note, keys):
    """The text of a note, and the keys that signed it."""
    body, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise Tampered("checkpoint: not a signed note")
    text, found = body + "\n", []
    for line in lines[:-1].split("\n"):
        match = re.fullmatch("\u2014 ([^\\s+]+) ([A-Za-z0-9+/=]+)", line)
        if not match:
            raise Tampered("checkpoint: a line under the text is no signature")
        signature = base64.b64decode(match[2], validate=True)
        for key in keys:
            if key.name == match[1] and key.id == signature[:4]:
                try:
                    key.check(text, signature[4:])
                except InvalidSignature:
                    raise Tampered(f"checkpoint: the signature of {key.name} does not hold") from None
                found.append(key)
    return text, found


def read_checkpoint(note, logs, witnesses, quorum):
    """Size and root, once the log and enough witnesses have signed them."""
    text, found = signers(note, logs + witnesses)
    lines = text.split("\n")
    if len(lines) < 4 or "" in lines[:-1] or not re.fullmatch("0|[1-9][0-9]*", lines[1]):
        raise Tampered("checkpoint: not an origin, a size and a root")
    if not any(key in logs and key.name == lines[0] for key in found):
        raise Tampered(f"checkpoint: no log with the origin {lines[0]} has signed")
    cosigned = {id(key) for key in found if key in witnesses}
    if len(cosigned) < quorum:
        raise Incomplete(f"checkpoint: {len(cosigned)} witnesses have cosigned, not {quorum}")
    root = base64.b64decode(lines[2], validate=True)
    if len(root) != 32:
        raise Tampered("checkpoint: the root is no hash")
    return int(lines[1]), root


# --- tiles (c2sp.org/tlog-tiles) ---


def path_of(kind, index, width):
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return f"tile/{kind}/{'/'.join(groups)}" + ("" if width == WIDTH else f".p/{width}")


class Log:
    def __init__(self, base):
        self.base = base

    def fetch(self, path):
        try:
            if isinstance(self.base, Path):
                return (self.base / path).read_bytes()
            with urllib.request.urlopen(f"{self.base}/{path}", timeout=30) as answer:
                return answer.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                return None
            raise

    def get(self, kind, index, width):
        """The file, or the full one where the partial one is gone; with its width."""
        for served in dict.fromkeys((width, WIDTH)):
            content = self.fetch(path_of(kind, index, served))
            if content is not None:
                return content, served
        raise Incomplete(f"{path_of(kind, index, width)}: missing")

    def tile(self, level, index, width):
        content, served = self.get(level, index, width)
        if len(content) != 32 * served:
            raise Tampered(f"{path_of(level, index, width)}: not {served} hashes")
        return [content[at : at + 32] for at in range(0, 32 * width, 32)]

    def bundle(self, index, width):
        content, served = self.get("entries", index, width)
        records, at = [], 0
        while at + 2 <= len(content):
            (length,) = struct.unpack_from(">H", content, at)
            records.append(content[at + 2 : at + 2 + length])
            at += 2 + length
        if at != len(content) or len(records) != served:
            raise Tampered(f"{path_of('entries', index, width)}: not {served} entries")
        return records[:width]


def chunks(count):
    """Index and width of the tiles over so many nodes."""
    return ((index, min(WIDTH, count - index * WIDTH)) for index in range((count + WIDTH - 1) // WIDTH))


def verify(log, size, root):
    nodes, edge = [], []
    for index, width in chunks(size):
        hashes = [leaf_hash(record) for record in log.bundle(index, width)]
        for place, (found, expected) in enumerate(zip(hashes, log.tile(0, index, width))):
            if found != expected:
                raise Tampered(f"record {index * WIDTH + place}: not the one in the tile")
        nodes.append(root_of(hashes)) if width == WIDTH else edge.append(hashes)
    level = 1
    while nodes:
        above = []
        for index, width in chunks(len(nodes)):
            hashes = nodes[index * WIDTH : index * WIDTH + width]
            if hashes != log.tile(level, index, width):
                raise Tampered(f"{path_of(level, index, width)}: not what the tiles below lead to")
            above.append(root_of(hashes)) if width == WIDTH else edge.append(hashes)
        nodes, level = above, level + 1
    # The tree is its partial tiles: those of the upper levels on the left.
    right = None
    for hashes in edge:
        for left in reversed(subtrees(hashes)):
            right = left if right is None else node_hash(left, right)
    if (right or root_of([])) != root:
        raise Tampered("log: the records do not lead to the checkpoint's root")


def subtrees(hashes):
    """The roots of the perfect subtrees of falling size that a partial tile is."""
    found = []
    while hashes:
        width = 1 << len(hashes).bit_length() - 1
        found.append(root_of(hashes[:width]))
        hashes = hashes[width:]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dir", type=Path)
    source.add_argument("--url")
    parser.add_argument("--key", type=Key, action="append", required=True, help="verifier key of the log")
    parser.add_argument("--witness", type=Key, action="append", default=[], help="verifier key of a witness")
    parser.add_argument("--quorum", type=int, default=0, help="how many witnesses must have cosigned")
    try:
        options = parser.parse_args()
    except SystemExit as end:
        return 3 if end.code else 0
    log = Log(options.dir or options.url.rstrip("/"))
    try:
        note = log.fetch("checkpoint")
        if note is None:
            raise Incomplete("checkpoint: missing")
        size, root = read_checkpoint(note.decode(), options.key, options.witness, options.quorum)
        verify(log, size, root)
    except (Tampered, ValueError) as error:
        print(f"tampered: {error}")
        return 1
    except (Incomplete, OSError) as error:
        print(f"incomplete: {error}")
        return 2
    print(f"ok: {size} records, root {base64.b64encode(root).decode()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
