"""UniPC with bh1, or predict_x0=False, multiplies 0 by infinity in its last step: nan.

adapter: diffusers_solvers
about: UniPCMultistep, *zero: probability flow
verdict: wrong
third: the last step to σ = 0 is x̂_0, as it is with bh2 and predict_x0=True, on the same
    inputs.
"""
import torch
from diffusers import UniPCMultistepScheduler

for kind in ("bh2", "bh1"):
    s = UniPCMultistepScheduler(solver_type=kind)
    s.set_timesteps(10)
    x = torch.ones(1, 1, 1, 1)
    for t in s.timesteps:
        x = s.step(0.5 * x, t, x).prev_sample
    print(kind, float(x))
