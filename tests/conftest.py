"""What every test shares: one Hypothesis profile, and its memory outside the tree."""

import os

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(f".cache/hypothesis-{os.getuid()}")  # the device tier runs as root, in the same checkout
# No deadline: two busy cores make honest tests slow. In CI the same examples each time, so that red means a change.
settings.register_profile("privet", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("privet"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "privet")
