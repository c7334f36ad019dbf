"""The JSON Schema of device profiles, for editors: completion and red lines while somebody writes one."""

from typing import Any

from agent.core.setting import Setting
from provisioning.profile.catalogue import Catalogue
from provisioning.profile.check import FLOW_SETTINGS, shown
from provisioning.profile.schema import Profile
from provisioning.profile.units import KNOWN

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(catalogue: Catalogue) -> dict[str, Any]:
    """Return the schema of a profile, with every setting, channel, credential kind and unit this version knows."""
    made: dict[str, Any] = {"$schema": DIALECT, **Profile.model_json_schema(mode="validation")}
    made["title"] = "Privet device profile"
    top, tables = made["properties"], made["$defs"]
    choice = tables.pop("Choice")
    top["settings"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: setting_schema(setting, choice)
            for name, setting in sorted(catalogue.settings.items())
            if name not in FLOW_SETTINGS.values()
        },
    }
    top["ceilings"]["additionalProperties"] = False
    top["ceilings"]["properties"] = {
        name: {"description": setting.title, **value_schema(setting)}
        for name, setting in sorted(catalogue.settings.items())
    }
    top["channels"]["items"] = {"enum": list(catalogue.channels)}
    tables["Credential"]["properties"]["kind"] = {"enum": list(catalogue.credentials)}
    tables["TelemetryField"]["properties"]["unit"]["enum"] = sorted(KNOWN)
    return made


def setting_schema(setting: Setting, choice: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one setting: its value alone, or a table with the reason."""
    value = value_schema(setting)
    risks = "".join(f"\n{shown(option.value)}: {option.risk}" for option in setting.options[1:])
    table = {**choice, "properties": {**choice["properties"], "value": value}}
    return {"description": f"{setting.title}. Strictest first.{risks}", "anyOf": [value, table]}


def value_schema(setting: Setting) -> dict[str, Any]:
    """Return the schema of a setting's value."""
    if setting.order == "chain":
        return {"enum": [option.value for option in setting.options]}
    if setting.order == "subset":
        return {"type": "array", "items": {"type": "string"}}
    return {"type": "integer"} if setting.order in {"at_most", "at_least"} else {"type": "string"}
