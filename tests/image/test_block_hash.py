"""The hash of blocks: what README's few lines say of a file, however it came in pieces."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.block_hash import BLOCK, BlockHash, block_digest, zero_digest
from tests.image.disks import MIB, TIB, sha256_of


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 5 * BLOCK + 4096])
@pytest.mark.parametrize("step", [4096, BLOCK, 100_001, 10 * BLOCK])
def test_bytes_in_pieces_of_any_size(size: int, step: int) -> None:
    content = random.Random(size).randbytes(size)
    with ThreadPoolExecutor(2) as pool:
        for digest in (BlockHash(), BlockHash(pool)):
            for at in range(0, size, step):
                digest.update(content[at : at + step])
            assert digest.hexdigest() == sha256_of(content, BLOCK)


@pytest.mark.parametrize("seed", range(20))
def test_bytes_holes_and_digests_are_the_same_file(seed: int) -> None:
    rng = random.Random(seed)
    digest, content = BlockHash(), b""
    for _ in range(rng.randrange(1, 12)):
        kind = rng.choice(["bytes", "zeros", "digests"])
        part = bytes(rng.randrange(3 * BLOCK)) if kind == "zeros" else rng.randbytes(rng.randrange(3 * BLOCK))
        if kind == "zeros":
            digest.zeros(len(part))
        elif kind == "bytes" or len(content) % BLOCK:
            digest.update(part)
        else:
            part = part[: len(part) // BLOCK * BLOCK]
            digest.digests(b"".join(block_digest(part[at : at + BLOCK]) for at in range(0, len(part), BLOCK)))
        content += part
    assert digest.hexdigest() == sha256_of(content, BLOCK)


def test_a_short_block_of_zeros_at_the_end() -> None:
    digest = BlockHash()
    digest.digests(zero_digest() * 3)
    digest.digests(zero_digest(512))
    assert digest.hexdigest() == sha256_of(bytes(3 * BLOCK + 512), BLOCK)


def test_a_hole_costs_its_digests_and_not_its_bytes() -> None:
    short, long = BlockHash(), BlockHash()
    short.zeros(64 * MIB)
    long.zeros(TIB)  # a hash of its bytes would take ten minutes
    assert short.hexdigest() == sha256_of(bytes(64 * MIB), BLOCK)
    assert long.hexdigest() != short.hexdigest()
