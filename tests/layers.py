"""What the tests of the recurrent layers share: layers and frames of random numbers in float64,
and when results are the same.
"""

import re

import torch


def in_words(options):
    """What names a test: the same in every process, so without addresses in memory."""
    return re.sub(r"<built-in method (\w+) .*?>", r"\1", str(options))


def shake(layer, scale=0.3, seed=0):
    """The layer in float64 with random values for every parameter, the peepholes and biases
    that begin at zero among them.
    """
    torch.manual_seed(seed)
    for parameter in layer.double().parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return layer


def noise(*shape, seed=1, grad=False):
    return torch.randn(
        *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    ).requires_grad_(grad)


def assert_same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def assert_same_with_gradients(ours, theirs, wanted):
    """Each pair of results is equal, and so is the gradient of a weighted sum of them by
    everything `wanted`.
    """
    weights = [noise(*result.shape, seed=7) for result in ours]
    assert_same(tuple(ours), tuple(theirs))
    gradients = [
        torch.autograd.grad(
            sum((w * r).sum() for w, r in zip(weights, results, strict=True)), wanted
        )
        for results in (ours, theirs)
    ]
    for a, b in zip(*gradients, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def wire(cell, *, forget=-40.0, of_input=1.0, of_hidden=0.0):
    """Make the cell transparent: with activation='identity' and 1×1 kernels H_t = of_input ·
    X_t + of_hidden · H_{t−1}, each channel by itself. i = o = σ(40), which is 1 in float64, and
    f = σ(−40) ≈ 0.
    """
    h = cell.hidden_channels
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias[:h], cell.bias[h : 2 * h], cell.bias[3 * h :] = 40.0, forget, 40.0
        for weight, value in ((cell.weight_ih, of_input), (cell.weight_hh, of_hidden)):
            for k in range(h):
                weight[2 * h + k, k] = value
