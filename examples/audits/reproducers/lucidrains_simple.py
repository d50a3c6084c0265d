"""The loss in continuous time is the plain mean square of ε: no ½ dγ/dt, no bound.

adapter: lucidrains_continuous
about: loss in continuous time*
verdict: another convention
third: ½ ∫ γ'(t)|ε - ε̂|² dt is a line integral over γ, the same for two schedules with the same
    ends; the plain mean is not. So noise_schedule="learned" has nothing of the bound to learn
    from this loss: what it finds is where ε is easy to tell, high noise.
"""
from numpy import exp, linspace

error = lambda gamma: 1 / (1 + exp(gamma))  # of N(0, 1) data, whose ε̂ = √(1 - ᾱ) x_t
t = linspace(0, 1, 100001)
for gamma, slope in ((-6 + 11 * t, 11 + 0 * t), (-6 + 11 * t**3, 33 * t**2)):
    print("plain", error(gamma).mean(), "bound's", (slope / 2 * error(gamma)).mean())
