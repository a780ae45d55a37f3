"""Densities against scipy and by hand, samples against their distribution, gradients against finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from waker.model import distributions as d

LN2 = math.log(2.0)


def fixed_uniforms(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Make ``torch.rand_like`` return the given numbers."""
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.tensor(values, dtype=x.dtype).reshape(x.shape))


# Scales -------------------------------------------------------------------------------------------------------


@given(st.floats(-1e4, 1e4))
def test_symexp_inverts_symlog(x: float) -> None:
    value = torch.tensor(x, dtype=torch.float64)
    assert d.symexp(d.symlog(value)).item() == pytest.approx(x, rel=1e-9, abs=1e-12)


def test_symlog_by_hand() -> None:
    x = torch.tensor([-(math.e - 1.0), 0.0, math.e**2 - 1.0])
    torch.testing.assert_close(d.symlog(x), torch.tensor([-1.0, 0.0, 2.0]))


def test_gaussian_nll_is_the_negative_log_density() -> None:
    mean, target = torch.randn(20, dtype=torch.float64), torch.randn(20, dtype=torch.float64)
    expected = -stats.norm.logpdf(target.numpy(), loc=mean.numpy())
    np.testing.assert_allclose(d.gaussian_nll(mean, target).numpy(), expected, rtol=1e-12)


# Categoricals -------------------------------------------------------------------------------------------------


def test_log_probabilities_without_unimix_are_a_log_softmax() -> None:
    logits = torch.randn(7, 5)
    torch.testing.assert_close(d.log_probabilities(logits, 0.0), torch.log_softmax(logits, -1))


def test_unimix_mixes_with_the_uniform_distribution() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0], [1e4, -1e4]])
    expected = torch.tensor([[0.9 * 0.75 + 0.05, 0.9 * 0.25 + 0.05], [0.95, 0.05]])
    torch.testing.assert_close(d.log_probabilities(logits, 0.1).exp(), expected)


def test_onehot_samples_have_the_given_frequencies() -> None:
    torch.manual_seed(0)
    probs = torch.tensor([[0.5, 0.2, 0.25, 0.05], [0.01, 0.01, 0.97, 0.01]])
    n = 20_000
    counts = d.sample_onehot(probs.log().expand(n, 2, 4)).sum(0)
    for row, expected in zip(counts.numpy(), n * probs.double().numpy(), strict=True):
        expected = expected / expected.sum() * n
        assert stats.chisquare(row.astype(np.float64), expected).pvalue > 1e-3


def test_neighbouring_categoricals_are_drawn_independently() -> None:
    torch.manual_seed(1)
    pairs = d.sample_onehot(torch.full((20_000, 2, 2), 0.5).log())
    joint = torch.einsum("na,nb->ab", pairs[:, 0], pairs[:, 1]).flatten()
    assert stats.chisquare(joint.double().numpy()).pvalue > 1e-3


def test_a_sample_inverts_the_cumulative_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    log_probs = torch.tensor([0.25, 0.0, 0.25, 0.5]).log().expand(6, 4)
    fixed_uniforms(monkeypatch, [0.0, 0.249, 0.25, 0.499, 0.5, 1.0 - 2.0**-24])
    assert d.sample_onehot(log_probs).argmax(-1).tolist() == [0, 0, 2, 2, 3, 3]


def test_impossible_classes_are_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed_uniforms(monkeypatch, [0.0, 1.0 - 2.0**-24])
    log_probs = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]).log()
    assert d.sample_onehot(log_probs).argmax(-1).tolist() == [1, 1]


@pytest.mark.parametrize("mode", [False, True])
def test_samples_are_onehot_and_pass_the_gradient_of_the_probabilities(mode: bool) -> None:
    logits = torch.randn(6, 3, 5, requires_grad=True)
    weight = torch.randn(6, 3, 5)
    sample = d.sample_onehot(d.log_probabilities(logits, 0.01), mode)
    hard = torch.nn.functional.one_hot(sample.detach().argmax(-1), 5).float()
    torch.testing.assert_close(sample.detach(), hard, atol=1e-6, rtol=0.0)
    (through,) = torch.autograd.grad((sample * weight).sum(), logits)
    (expected,) = torch.autograd.grad((d.log_probabilities(logits, 0.01).exp() * weight).sum(), logits)
    torch.testing.assert_close(through, expected)


def test_the_mode_is_the_likeliest_class_and_draws_nothing() -> None:
    log_probs = torch.log_softmax(torch.randn(50, 6), -1)
    before = torch.get_rng_state()
    assert torch.equal(d.sample_onehot(log_probs, mode=True).argmax(-1), log_probs.argmax(-1))
    assert torch.equal(torch.get_rng_state(), before)


def test_entropy_by_hand() -> None:
    probs = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.25, 0.125, 0.125]])
    torch.testing.assert_close(d.categorical_entropy(probs.log()), torch.tensor([2.0 * LN2, 1.75 * LN2]))


def test_kl_by_hand_and_zero_between_equals() -> None:
    p, q = torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()
    expected = 0.5 * math.log(2.0) + 0.5 * math.log(2.0 / 3.0)
    assert d.categorical_kl(p, q).item() == pytest.approx(expected, rel=1e-6)
    assert d.categorical_kl(p, p).item() == 0.0


# Two-hot ------------------------------------------------------------------------------------------------------


def test_bins_are_symmetric_increasing_and_hold_zero() -> None:
    bins = d.symexp_bins(255, 20.0)
    assert torch.equal(bins, -bins.flip(0))
    assert (bins.diff() > 0).all()
    assert bins[127].item() == 0.0
    assert bins[-1].item() == pytest.approx(math.exp(20.0) - 1.0, rel=1e-6)
    torch.testing.assert_close(d.symexp_bins(5, 2.0)[3:], torch.tensor([math.e - 1.0, math.e**2 - 1.0]))


def encoding(target: Tensor, bins: Tensor) -> Tensor:
    """The two-hot encoding, read off the gradient of the loss: ∂nll/∂logits = softmax − encoding."""
    logits = torch.zeros(len(bins), dtype=bins.dtype, requires_grad=True)
    (grad,) = torch.autograd.grad(d.twohot_nll(logits, target, bins), logits)
    return torch.softmax(logits, -1).detach() - grad


@given(st.floats(-19.0, 19.0))
def test_the_encoding_of_a_number_has_that_mean(x: float) -> None:
    bins = d.symexp_bins(21, 3.0).double()
    weights = encoding(torch.tensor(x, dtype=torch.float64), bins)
    assert (weights * bins).sum().item() == pytest.approx(x, abs=1e-9)
    assert weights.min().item() > -1e-12
    used = (weights > 1e-9).nonzero().flatten()
    assert len(used) <= 2
    assert len(used) == 1 or used[1] - used[0] == 1


@pytest.mark.parametrize(("x", "expected"), [(-9.0, [1, 0, 0]), (-2.0, [1, 0, 0]), (0.0, [0, 1, 0]), (7.0, [0, 0, 1])])
def test_bins_and_numbers_beyond_them_are_encoded_alone(x: float, expected: list[int]) -> None:
    bins = torch.tensor([-2.0, 0.0, 4.0])
    torch.testing.assert_close(encoding(torch.tensor(x), bins), torch.tensor(expected).float())


def test_twohot_nll_and_mean_by_hand() -> None:
    bins = torch.tensor([-2.0, 0.0, 4.0])
    probs = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]])
    nll = d.twohot_nll(probs.log(), torch.tensor([1.0, -0.5]), bins)
    expected = [-(0.75 * math.log(0.25) + 0.25 * math.log(0.25)), -(0.25 * math.log(0.2) + 0.75 * math.log(0.2))]
    torch.testing.assert_close(nll, torch.tensor(expected))
    torch.testing.assert_close(d.twohot_mean(probs.log(), bins), torch.tensor([0.0, 2.0]))


@pytest.mark.parametrize("limit", [1.0, 3.0, 20.0])
@pytest.mark.parametrize("count", [2, 3, 4, 10, 11, 41, 254, 255])
def test_logits_without_a_direction_mean_exactly_zero(count: int, limit: float) -> None:
    bins = d.symexp_bins(count, limit)
    mirrored = torch.randn(50, count)
    mirrored = mirrored + mirrored.flip(-1)
    for logits in (torch.zeros(50, count), mirrored, 80.0 * mirrored):
        assert torch.equal(d.twohot_mean(logits, bins), torch.zeros(50))
        assert torch.equal(d.paired_twohot_mean(d.paired(logits), bins), torch.zeros(50))
    even = torch.linspace(-7.0, 7.0, count)
    assert torch.equal(d.twohot_mean(torch.zeros(3, count), 0.5 * (even - even.flip(0))), torch.zeros(3))


@pytest.mark.parametrize("scale", [1e-6, 1e-4, 1e-2, 1.0, 4.0])
@pytest.mark.parametrize(("count", "limit"), [(255, 20.0), (254, 20.0), (41, 3.0), (40, 20.0)])
def test_twohot_means_have_the_digits_of_float64(count: int, limit: float, scale: float) -> None:
    torch.manual_seed(4)
    logits, bins = scale * torch.randn(200, count), d.symexp_bins(count, limit)
    exact = (torch.softmax(logits.double(), -1) * bins.double()).sum(-1)
    for mean in (d.twohot_mean(logits, bins), d.paired_twohot_mean(d.paired(logits), bins)):
        assert (mean - exact).abs().max() < 1e-5 * exact.abs().mean()


def test_twohot_means_of_bins_that_are_not_symmetric() -> None:
    torch.manual_seed(5)
    for count in (4, 5):
        logits, bins = torch.randn(20, count), torch.linspace(-1.0, 9.0, count)
        torch.testing.assert_close(d.twohot_mean(logits, bins), (torch.softmax(logits, -1) * bins).sum(-1))


def test_a_certain_bin_means_itself() -> None:
    bins = d.symexp_bins(11, 20.0)
    torch.testing.assert_close(d.twohot_mean(torch.eye(11).log(), bins), bins)


@pytest.mark.parametrize("count", [10, 11])
def test_pairs_say_what_bins_say(count: int) -> None:
    torch.manual_seed(6)
    logits, bins = torch.randn(7, count, dtype=torch.float64), d.symexp_bins(count, 3.0).double()
    torch.testing.assert_close(d.unpaired(d.paired(logits)), logits)
    torch.testing.assert_close(d.paired_twohot_mean(d.paired(logits), bins), d.twohot_mean(logits, bins))


@pytest.mark.parametrize("count", [10, 11])
def test_the_gradient_of_a_paired_mean_written_out_is_the_derivative(count: int) -> None:
    torch.manual_seed(7)
    pairs = torch.randn(3, 4, count, dtype=torch.float64, requires_grad=True)
    bins = d.symexp_bins(count, 2.0).double()
    assert torch.autograd.gradcheck(lambda x: d.paired_twohot_mean(x, bins), pairs)
    assert torch.autograd.gradcheck(lambda x: d.twohot_mean(x, bins), pairs)


@pytest.mark.parametrize("count", [10, 11])
def test_the_compiled_paired_mean_and_its_gradient_are_the_eager_ones(count: int) -> None:
    torch._dynamo.reset()
    torch.manual_seed(8)
    bins = d.symexp_bins(count, 2.0)
    pairs = torch.cat([torch.randn(5, count), torch.zeros(1, count)]).requires_grad_()
    compiled = torch.compile(d.paired_twohot_mean, fullgraph=True, backend="eager")
    found = []
    for mean_of in (d.paired_twohot_mean, compiled):
        mean = mean_of(pairs, bins)
        found.append((mean.detach(), *torch.autograd.grad(mean.sum(), pairs)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(theirs, ours)


# Truncated normal ---------------------------------------------------------------------------------------------

LOCS = (-0.999, -0.6, 0.0, 0.3, 0.95)
SCALES = (0.1, 0.35, 1.1, 2.1)
"""2·σ(s/2) + 0.1 lies in (0.1, 2.1) (docs/method.md, Policies)."""
GRID = [(loc, scale) for loc in LOCS for scale in SCALES]


def truncated(loc: float, scale: float) -> stats.rv_continuous:
    return stats.truncnorm((-1.0 - loc) / scale, (1.0 - loc) / scale, loc, scale)


def tensors(loc: float, scale: float, n: int = 1) -> tuple[Tensor, Tensor]:
    return torch.full((n,), loc, dtype=torch.float64), torch.full((n,), scale, dtype=torch.float64)


@pytest.mark.parametrize(("loc", "scale"), GRID)
def test_truncated_normal_density_and_entropy_agree_with_scipy(loc: float, scale: float) -> None:
    x = np.linspace(-0.999, 0.999, 9)
    ours = d.truncated_normal_log_prob(*tensors(loc, scale), torch.tensor(x))
    np.testing.assert_allclose(ours.numpy(), truncated(loc, scale).logpdf(x), rtol=1e-9, atol=1e-9)
    entropy = d.truncated_normal_entropy(*tensors(loc, scale)).item()
    assert entropy == pytest.approx(truncated(loc, scale).entropy(), abs=1e-9)


@pytest.mark.parametrize(("loc", "scale"), [(-0.95, 0.1), (0.0, 2.1), (0.3, 0.35), (0.9, 1.1)])
def test_truncated_normal_samples_follow_it(loc: float, scale: float) -> None:
    torch.manual_seed(2)
    mean, width = tensors(loc, scale, 5_000)
    samples = d.truncated_normal_sample(mean.float(), width.float())
    assert samples.abs().max() < 1.0
    assert stats.kstest(samples.double().numpy(), truncated(loc, scale).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("loc", "scale"), GRID)
def test_truncated_normal_samples_have_the_gradient_of_the_inverse_cdf(
    loc: float, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    uniforms = [0.02, 0.3, 0.5, 0.9, 0.98]
    fixed_uniforms(monkeypatch, uniforms)
    a, b = (x.requires_grad_() for x in tensors(loc, scale, 5))
    sample = d.truncated_normal_sample(a, b)
    np.testing.assert_allclose(sample.detach().numpy(), truncated(loc, scale).ppf(uniforms), atol=1e-7)
    by_loc, by_scale = torch.autograd.grad(sample.sum(), (a, b))
    h = 1e-5
    numeric_loc = (truncated(loc + h, scale).ppf(uniforms) - truncated(loc - h, scale).ppf(uniforms)) / (2 * h)
    numeric_scale = (truncated(loc, scale + h).ppf(uniforms) - truncated(loc, scale - h).ppf(uniforms)) / (2 * h)
    np.testing.assert_allclose(by_loc.numpy(), numeric_loc, atol=2e-4)
    np.testing.assert_allclose(by_scale.numpy(), numeric_scale, atol=2e-4)


def test_the_mode_of_a_truncated_normal_is_its_location_clipped_with_its_gradient() -> None:
    loc = torch.tensor([-1.0, 0.25, 1.0], requires_grad=True)
    mode = d.truncated_normal_sample(loc, torch.ones(3), mode=True)
    torch.testing.assert_close(mode.detach(), torch.tensor([-1.0 + 1e-6, 0.25, 1.0 - 1e-6]), rtol=0.0, atol=1e-7)
    (grad,) = torch.autograd.grad(mode.sum(), loc)
    assert torch.equal(grad, torch.ones(3))


def test_saturated_policies_stay_finite() -> None:
    torch.manual_seed(3)
    loc = torch.tensor([-1.0, 1.0]).repeat(2_000).requires_grad_()
    scale = torch.full((4_000,), 0.1, requires_grad=True)
    sample = d.truncated_normal_sample(loc, scale)
    total = sample.sum() + d.truncated_normal_entropy(loc, scale).sum()
    total = total + d.truncated_normal_log_prob(loc, scale, sample.detach()).sum()
    grads = torch.autograd.grad(total, (loc, scale))
    assert sample.abs().max() < 1.0
    assert all(torch.isfinite(x).all() for x in (total, *grads))


def test_excess_surprise_is_what_a_right_belief_does_not_have() -> None:
    """By hand: seen p = (1, 0), believed q = (¾, ¼): −log ¾ − H(q). Right beliefs have none in the mean, whatever
    their entropy, where the KL is that entropy."""
    sure = torch.tensor([1.0, 1e-30]).log()
    belief = torch.tensor([0.75, 0.25]).log()
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert d.excess_surprise(sure, belief).item() == pytest.approx(-math.log(0.75) - entropy, rel=1e-6)
    seen = torch.stack([sure, sure.flip(0)])
    chance = torch.tensor([0.75, 0.25])
    assert (chance * d.excess_surprise(seen, belief)).sum().item() == pytest.approx(0.0, abs=1e-6)
    assert (chance * d.categorical_kl(seen, belief)).sum().item() == pytest.approx(entropy, rel=1e-6)
    wrong = torch.tensor([0.5, 0.5]).log()  # not as sure as it could be: nothing is left of its surprise
    assert (chance * d.excess_surprise(seen, wrong)).sum().item() == pytest.approx(0.0, abs=1e-6)
    too_sure = torch.tensor([0.99, 0.01]).log()
    assert (chance * d.excess_surprise(seen, too_sure)).sum().item() > 0.5
