"""What a profile means for the owner of a device, as facts ready to show: rendered from the compiled policy itself."""

from typing import Any

from agent.core.consent import notice, notice_digest
from agent.core.policy import Policy
from provisioning.profile.catalogue import Catalogue
from provisioning.profile.check import FLOW_SETTINGS, shown
from provisioning.profile.inherit import Loaded
from provisioning.profile.schema import Profile


def explained(loaded: Loaded, policy: Policy, catalogue: Catalogue) -> dict[str, Any]:
    """Return everything a profile decides: settings with reasons and risks, flows, notices, warnings, credentials."""
    profile = loaded.profile
    return {
        "model": profile.model,
        "title": profile.title,
        "files": list(loaded.files),
        "support_until": str(profile.support_until),
        "settings": settings_explained(loaded, policy, catalogue),
        "flows": flows_explained(profile),
        "notices": [
            {"purpose": one.id, "text": notice(policy, one.id), "digest": notice_digest(policy, one.id)}
            for one in policy.purposes
        ],
        "credentials": [dict(one) for one in policy.credentials],
        "channels": list(policy.channels),
    }


def settings_explained(loaded: Loaded, policy: Policy, catalogue: Catalogue) -> list[dict[str, Any]]:
    """Return each setting with its value; a looser one with its reason, its risks and the file that chose it."""
    rows = []
    for name, setting in sorted(catalogue.settings.items()):
        if name in FLOW_SETTINGS.values():
            continue
        value = policy.baseline.get(name, setting.strictest())
        strict = setting.lattice().leq(value, setting.strictest())
        risks = [] if strict else [option.risk for option in setting.newly(setting.strictest(), value) if option.risk]
        rows.append(
            {
                "setting": name,
                "title": setting.title,
                "value": shown(value),
                "strictest": strict,
                "chosen_by": loaded.chosen_by.get(name, ""),
                "reason": policy.reasons.get(name, ""),
                "risks": list(dict.fromkeys(risks)),
                "satisfies": list(setting.satisfies),
            }
        )
    return rows


def flows_explained(profile: Profile) -> list[dict[str, str]]:
    """Return what the firewall lets through, and why."""
    return [
        {"side": side, "flow": flow.flow, "purpose": flow.purpose}
        for side in FLOW_SETTINGS
        for flow in getattr(profile.flows, side)
    ]
