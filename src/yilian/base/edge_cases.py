"""Ed25519 edge cases and the network's verdict on each; made by tools/edge_vectors.py."""

# fmt: off
EDGE_CASES: tuple[tuple[str, str, str, bool], ...] = (
    (
        "eeb1d09d891192c57b4b61973cacce15e51f8d6ce8dd46df985bb5f75f8455a3",
        "79696c69616e",
        "2bbc05877cb5f063507d7d23021e64bf987199a8c34172066402182660039729"
        "77a235ed4cee49cc7c72b1becaa6857aa439dff80233b0d8204e6f1065e6c70c",
        True,
    ),  # an ordinary signature
    (
        "eeb1d09d891192c57b4b61973cacce15e51f8d6ce8dd46df985bb5f75f8455a3",
        "79696c69616e",
        "2bbc05877cb5f063507d7d23021e64bf987199a8c34172066402182660039729"
        "64762b4a67515c24530fa961a9a0648fa439dff80233b0d8204e6f1065e6c71c",
        False,
    ),  # S + L: the same scalar, written longer
    (
        "b57c183557f683a01fc086f7463a85d2e4183f32519fa8898ce9ea29e70d0c1c",
        "79696c69616e2030",
        "2bbc05877cb5f063507d7d23021e64bf987199a8c34172066402182660039729"
        "b484a7b0b8bf779f1c8bd294b234e423f3abed2b2b218ea8fcc3ce49d6ec5b09",
        False,
    ),  # key with a small-order part, seen by the cofactorless check
    (
        "b57c183557f683a01fc086f7463a85d2e4183f32519fa8898ce9ea29e70d0c1c",
        "79696c69616e2035",
        "2bbc05877cb5f063507d7d23021e64bf987199a8c34172066402182660039729"
        "abc50228cc2f1f20d33f1e516ea035c8cfc02ba0fa906370da70a1c2cf1c0103",
        True,
    ),  # key with a small-order part, not seen by it
    (
        "eeb1d09d891192c57b4b61973cacce15e51f8d6ce8dd46df985bb5f75f8455a3",
        "79696c69616e",
        "5b126c90dc5282029e7c04082cb0cec2d77a0cfb8826cf73e0ac710dda781ccd"
        "2fcde32a729eccf155ccc01835d949f1c8c96899f7851d7dc6f36fb76134d104",
        False,
    ),  # R with a small-order part
    (
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "79696c69616e",
        "0100000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000",
        False,
    ),  # key of order 8
    (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "79696c69616e",
        "2bbc05877cb5f063507d7d23021e64bf987199a8c34172066402182660039729"
        "0305050000000000000000000000000000000000000000000000000000000000",
        False,
    ),  # key is the identity
    (
        "eeb1d09d891192c57b4b61973cacce15e51f8d6ce8dd46df985bb5f75f8455a3",
        "79696c69616e",
        "0100000000000000000000000000000000000000000000000000000000000000"
        "40188e6e9d8b6c54f21d8e64560ebd2bbdf3b00481e663315427209dfe820004",
        False,
    ),  # R is the identity
    (
        "eeb1d09d891192c57b4b61973cacce15e51f8d6ce8dd46df985bb5f75f8455a3",
        "79696c69616e",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
        "99c9fb4554c874a3dcfdb924e86959a30211baa5027eb3b80f840facca12bc0e",
        False,
    ),  # R is the identity, written with y + p
    (
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "79696c69616e",
        "2bbc05877cb5f063507d7d23021e64bf987199a8c34172066402182660039729"
        "0305050000000000000000000000000000000000000000000000000000000000",
        False,
    ),  # key is the identity, written with y + p
    (
        "eeb1d09d891192c57b4b61973cacce15e51f8d6ce8dd46df985bb5f75f8455a3",
        "79696c69616e",
        "2bbc05877cb5f063507d7d23021e64bf987199a8c34172066402182660039729"
        "78a235ed4cee49cc7c72b1becaa6857aa439dff80233b0d8204e6f1065e6c70c",
        False,
    ),  # another message's signature
)
