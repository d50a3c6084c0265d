"""Stratified draws give each example of a batch its own stratum: its times are never the others'.

adapter: kdiffusion_losses
about: rand_log_uniform, stratified*
verdict: another convention
third: a uniform time for each example is what makes its loss unbiased: the mean of example 0's
    must be ½. Harmless where the data are shuffled anew, not where places in the batch mean
    something; (u + i/n) mod 1 with one u has both properties.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
import torch
from kdiffusion import load

draws = torch.stack([load()[2].stratified_uniform((4,)) for _ in range(2000)])
print(draws.mean(0).tolist())
