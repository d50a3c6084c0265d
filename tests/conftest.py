"""Hypothesis profiles: the default one draws the same examples on every run; fresh seeds by hand with

    python -m pytest --hypothesis-profile=fresh
"""
import os

# before NumPy is loaded: on matrices this small a second BLAS thread only waits
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

slow = [HealthCheck.too_slow]
settings.register_profile("fixed", deadline=None, derandomize=True, max_examples=50, database=None,
                          suppress_health_check=slow)
settings.register_profile("fresh", deadline=None, derandomize=False, max_examples=200, print_blob=True,
                          suppress_health_check=slow)
settings.load_profile("fixed")
