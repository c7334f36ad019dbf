"""What a profile may say about a field beyond its precision: each slip is told with its line and its fix."""

import pytest

from agent.core.notice import notice
from provisioning.profile.compile import Issue, as_policy, policy_map
from provisioning.profile.diff import compare
from provisioning.profile.inherit import examine, load

ISSUE = Issue("garden", 1, 1_800_000_000, {"home": b"k"}, ("broker.example", 8883))
PURPOSE = """
[[purpose]]
id = "way"
title = "Way"
text = "To find it."
recipients = ["home"]
retention_days = 7
pseudonym = "7d"
[[recipient]]
id = "home"
name = "Home"
country = "DE"
[[field]]
name = "position"
title = "Where it is"
purpose = "way"
"""
PLACE = PURPOSE + 'cell = "5km"\nbucket = "1h"\nmost = 4\n'

SLIPS = [
    ('cell = "5km"', 'cell = "5 km"', 'must be a size between "100m" and "1000km"'),
    ('cell = "5km"', 'cell = "99m"', 'must be a size between "100m" and "1000km"'),
    ('cell = "5km"', 'cell = "1001km"', 'must be a size between "100m" and "1000km"'),
    ('cell = "5km"', "", 'lacks "unit"; add a line unit = …, or cell = "5km" if it is a place'),
    ('cell = "5km"', 'cell = "5km"\nunit = "lat"', 'is a place, so "unit" means nothing; remove it'),
    ('cell = "5km"', 'cell = "5km"\nkeep = ["mean"]', 'there are no figures of it; remove "keep"'),
    ("most = 4", "most = 0", "most"),
    ("most = 4", 'most = "4"', "must be a whole number without quotes"),
]


@pytest.mark.parametrize(("old", "new", "said"), SLIPS)
def test_a_slip_is_told_with_its_fix(shelf, catalogue, old, new, said):
    """One sentence at the field."""
    faults = examine(shelf.put("x", PLACE.replace(old, new)), catalogue)[1]
    assert len(faults) == 1
    assert said in faults[0].text
    assert faults[0].line >= 19


NOISY = PURPOSE + 'unit = "m/s"\nprecision = "1"\nlow = "0"\nhigh = "50"\nbucket = "1h"\nkeep = ["count", "mean"]\n'
NOISY += 'noise = { epsilon = "0.5", least = 10 }\n'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('epsilon = "0.5"', 'epsilon = "0"', 'must be more than zero and at most 10, such as "0.5"'),
        ('epsilon = "0.5"', 'epsilon = "11"', "at most 10"),
        ('epsilon = "0.5"', "epsilon = 0.5", "must be text in quotes"),
        ("least = 10", "least = 0", "least"),
        ('"count", "mean"', '"max"', "under which min and max say nothing"),
        ('keep = ["count", "mean"]', "", "add most = …"),
    ],
)
def test_a_slip_of_noise_is_told_with_its_fix(shelf, catalogue, old, new, said):
    """One sentence."""
    faults = examine(shelf.put("x", NOISY.replace(old, new)), catalogue)[1]
    assert [said in fault.text for fault in faults] == [True]


@pytest.mark.parametrize(("old", "new"), [('epsilon = "0.5"', 'epsilon = "0.6"'), (NOISY[NOISY.index("noise") :], "")])
def test_less_noise_is_looser(shelf, catalogue, old, new):
    """A larger epsilon, or none at all; and its budget stands in the notice."""
    paths = shelf.put("x", NOISY), shelf.put("y", NOISY.replace(old, new))
    one, other = (as_policy(policy_map(load(p, catalogue).profile, catalogue, ISSUE), catalogue) for p in paths)
    assert {found.direction for found in compare(one, other, catalogue)} == {"looser"}
    assert {found.direction for found in compare(other, one, catalogue)} == {"stricter"}
    assert "(epsilon 1 a span, 24 a day at most)" in notice(one, "way")


def test_the_sound_one_has_no_fault(shelf, catalogue):
    """And its notice says the cell, the number and when it is sent."""
    policy = as_policy(policy_map(load(shelf.put("x", PLACE), catalogue).profile, catalogue, ISSUE), catalogue)
    text = notice(policy, "way")
    assert "Where it is (position), to a cell of the map of at least 5 km by 5 km, timed to 1 h, at most 4" in text
    assert "this device has another name in it every 7 days" in text
    assert "Sent: within 5 min after the end of each span of 1 h" in text


def test_buckets_that_do_not_fit_into_the_longest_are_refused(shelf, catalogue):
    """What is sent with the longest one would be sent within a bucket of the other."""
    other = PLACE + '[[field]]\nname = "speed"\ntitle = "Speed"\npurpose = "way"\nunit = "m/s"\nprecision = "1"\n'
    other += 'low = "0"\nhigh = "50"\nbucket = "{}"\n'
    assert examine(shelf.put("x", other.format("20m")), catalogue)[1] == []
    faults = examine(shelf.put("y", other.format("25m")), catalogue)[1]
    assert [fault.text.partition(";")[2] for fault in faults] == [" make that a multiple of it"]


LOOSER = [
    ('cell = "5km"', 'cell = "1km"', "a cell of at least 1 km"),
    ("most = 4", "most = 5", "at most 5 in that time"),
    ("most = 4", "", "timed to 3600 s becomes"),
    ('pseudonym = "7d"', 'pseudonym = "8d"', 'another name in "Way" every 8 days instead of every 7 days'),
    ('pseudonym = "7d"', "", ""),
    ('bucket = "1h"', 'bucket = "1m"', "is sent at once instead of after each 1 h"),
]


@pytest.mark.parametrize(("old", "new", "said"), LOOSER)
def test_what_is_looser_is_said(shelf, catalogue, old, new, said):
    """One way it is looser, the other way stricter; and a child needs a reason for it."""
    paths = shelf.put("x", PLACE), shelf.put("y", PLACE.replace(old, new))
    one, other = (as_policy(policy_map(load(p, catalogue).profile, catalogue, ISSUE), catalogue) for p in paths)
    there = [found for found in compare(one, other, catalogue) if found.direction == "looser"]
    if new:
        assert any(said in found.text for found in there)
    assert there
    assert {found.direction for found in compare(other, one, catalogue)} == {"stricter"}
    changed = PLACE.replace(old, new)
    parts = [changed.partition("[[recipient]]")[0], "[[field]]" + changed.partition("[[field]]")[2]]
    child = 'model = "z"\ntitle = "Z"\ninherits = "x"\n' + "".join(parts)
    faults = examine(shelf.put("z", child, sound=False), catalogue)[1]
    assert ["add a reason or keep to the parent's" in fault.text for fault in faults] == [True]
