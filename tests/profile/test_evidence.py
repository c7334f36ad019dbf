"""The evidence by provision: every provision that a setting names is known, each is listed once, nothing is judged."""

import re
from pathlib import Path

import pytest

from agent.core.order import ANY
from provisioning.profile.catalogue import on_platform, shipped
from provisioning.profile.compile import as_policy, blank_issue, policy_map
from provisioning.profile.evidence import evidence, markdown, plain, standards
from provisioning.profile.inherit import load
from tests.house import ROOT

PROFILES = sorted((ROOT / "device_profiles").glob("*.toml"))
VERDICT = re.compile(r"\b(complian\w*|conform\w*|pass(ed|es)?|fail(ed|s)?|score|percent|certif\w+)\b|%", re.IGNORECASE)


def test_every_provision_that_a_setting_names_is_known():
    """And no provision stands twice: whoever adds a setting with another one adds it to the list."""
    ids = [row.id for one in standards() for row in one.provisions]
    assert len(ids) == len(set(ids))
    named = {provision for setting in shipped().settings.values() for provision in setting.satisfies}
    assert named <= set(ids), named - set(ids)
    assert all(row.title and row.title[-1] != "." for one in standards() for row in one.provisions)
    assert all(one.source and (one.whole or one.note) for one in standards())


def test_the_texts_are_whole_where_it_says_so():
    """The numbers of provisions in the texts themselves: EN 303 645 has 78, Annex I of the CRA 1 + 13 and 8."""
    counted = {one.id: len(one.provisions) for one in standards() if one.whole}
    assert counted == {"EN303645": 78, "CRA": 22, "PSTI": 3, "RFC8520": 1}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_has_its_evidence(path: Path):
    """Each provision once, with settings or among those none is about; each setting where it says; no verdict."""
    loaded = load(path, shipped())
    policy = as_policy(policy_map(loaded.profile, shipped(), blank_issue(loaded.profile)), shipped())
    facts = evidence(loaded, policy, shipped())
    here = on_platform(shipped(), loaded.profile.platform).settings
    assert set(facts["settings"]) == set(here)
    for known, one in zip(standards(), facts["standards"], strict=True):
        listed = [row["id"] for row in one["provisions"]] + [row["id"] for row in one["no_setting"]]
        assert sorted(listed) == sorted(row.id for row in known.provisions)
        for row in one["provisions"]:
            assert row["settings"] == sorted(name for name in here if row["id"] in here[name].satisfies)
    for name, held in facts["settings"].items():
        lattice, value = here[name].lattice(), policy.baseline.get(name, here[name].strictest())
        assert held["strictest"] == lattice.leq(value, here[name].strictest())
        assert held["strictest"] or held["reason"], "what is looser has its reason"
        within = [option for option in here[name].options if lattice.leq(option.value, value)]
        assert len(within) + len(held["loosenings"]) == len(here[name].options)
        assert all(one["risk"] for one in held["loosenings"]) and lattice.leq(value, ANY)
    page = markdown(facts)
    assert all(f"### {row['id']}: " in page for one in facts["standards"] for row in one["provisions"])
    assert all(f"- {row['id']}: " in page for one in facts["standards"] for row in one["no_setting"])
    ours = "\n".join(line for line in page.splitlines() if not line.startswith(("|", "-", "This profile sets")))
    assert VERDICT.search(ours) is None, VERDICT.search(ours)


def test_words_of_others_are_text_in_the_page():
    """What a profile says opens no column, no heading and no link."""
    assert plain("a|b\n# [x](y) <i>`c`") == "a\\|b \\# \\[x\\](y) \\<i\\>\\`c\\`"
