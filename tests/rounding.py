"""Two ways to one result, of which only rounding may differ: kernels depend on the processor."""


def assert_same(given, expected, *, share=1e-5):
    """Of the largest value, this share at most."""
    assert given.shape == expected.shape
    difference = float((given - expected).abs().max())
    assert difference <= share * float(expected.abs().max()), difference
