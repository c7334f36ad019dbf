"""Consent as records that other programs read: ISO/IEC TS 27560 in JSON-LD, with the words of the W3C's DPV.

https://w3id.org/dpv (Data Privacy Vocabulary 2), and its guide to ISO/IEC TS 27560. One record per purpose.
"""

import time
from typing import Any

CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "dct": "http://purl.org/dc/terms/",
    "legal-eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
}
STATUS = {
    "given": "dpv:ConsentGiven",
    "refused": "dpv:ConsentRefused",
    "withdrawn": "dpv:ConsentWithdrawn",
    "never_asked": "dpv:ConsentUnknown",
}


def stamp(at: int) -> str:
    """Write Unix seconds as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def record(row: dict[str, Any], fleet: str, device: str) -> dict[str, Any]:
    """Turn one row of the guard's consents into a consent record."""
    purpose, answer = row["purpose"], row["answer"]
    made: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": "https://w3id.org/dpv/guides/consent-27560",
        "dct:identifier": f"urn:privet:{fleet}:{device}:{purpose['id']}",
        "dpv:hasDataSubject": "the owner of the device",
        "dpv:hasNotice": {"@type": "dpv:ConsentNotice", "dct:description": row["notice"], "sha256": row["digest"]},
        "dpv:hasPurpose": {"dct:title": purpose["title"], "dct:description": purpose["text"]},
        "dpv:hasLegalBasis": purpose["basis"],
        "dpv:hasPersonalData": [{"dct:title": f["title"], "dct:identifier": f["name"]} for f in row["fields"]],
        "dpv:hasRecipient": [{"dct:title": r["name"], "dpv:hasCountry": r["country"]} for r in row["recipients"]],
        "dpv:hasStorageCondition": {
            "@type": "dpv:StorageDuration",
            "dpv:hasDuration": f"P{purpose['retention_days']}D",
        },
        "dpv:hasConsentStatus": {"@type": STATUS[row["state"]]},
    }
    if answer is not None:
        event = {"dpv:isIndicatedAtTime": stamp(answer["at"]), "dpv:isIndicatedBy": answer["by"]}
        said = {"@type": STATUS[answer["state"]], "notice_sha256": answer["notice"], **event}
        made["dpv:hasConsentStatus"] = {**made["dpv:hasConsentStatus"], "answer": said}
    return made


def records(consents: dict[str, Any]) -> list[dict[str, Any]]:
    """Turn all of them into records."""
    return [record(row, consents["fleet"], consents["device"]) for row in consents["rows"]]
