"""ActNorm's start is by the sample's deviation, n - 1 (normflows).

adapter: normflows_layers
about: ActNorm's start, *: variance
verdict: another convention
third: GLOW asks for variance 1 of the first batch, which is that with n; n - 1 gives (n - 1)/n.
"""
import torch

x = torch.tensor([1.0, 2.0, 4.0])
print(float((x / x.std()).var(correction=0)), float((x / x.std(correction=0)).var(correction=0)))
