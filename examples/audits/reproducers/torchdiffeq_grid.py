"""With step_size, dL/dt of a time that lies on the grid is dropped, and dL/dT0 takes it.

adapter: torchdiffeq_methods
about: odeint, rk4, step_size, ts on its grid: ts*
verdict: wrong
third: dz/dt = f: z' = z from 1 has dz(0.5)/dt = e^0.5 = 1.65; differences of torchdiffeq's own
    odeint, which joins its grid by lines, agree. Without step_size, or with interp=cubic, it is
    right.
"""
import torch
import torchdiffeq

ts = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
one, how = torch.ones(1, dtype=torch.float64), {"method": "rk4", "options": {"step_size": 0.125}}
torchdiffeq.odeint(lambda t, z: z, one, ts, **how)[1].sum().backward()
print(ts.grad.tolist())  # should be [-1.65, 1.65, 0]: only ts[1] - ts[0] matters
for moved in (0.51, 0.5, 0.49):
    at = torch.tensor([0.0, moved, 1.0], dtype=torch.float64)
    print(moved, float(torchdiffeq.odeint(lambda t, z: z, one, at, **how)[1]))
