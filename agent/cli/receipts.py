"""Consent as records that other programs read: ISO/IEC TS 27560 in JSON-LD, with the words of the W3C's DPV.

https://w3id.org/dpv (Data Privacy Vocabulary 2), and its guide to ISO/IEC TS 27560. One record for each purpose and
recipient.
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
    "ended": "dpv:ConsentExpired",  # a policy named its purpose or recipient no more
}


def stamp(at: int) -> str:
    """Write Unix seconds as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def record(row: dict[str, Any], to: dict[str, Any], fleet: str, device: str) -> dict[str, Any]:
    """Turn one recipient of one row of the guard's consents into a consent record."""
    purpose, answer = row["purpose"], to["answer"]
    made: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": "https://w3id.org/dpv/guides/consent-27560",
        "dct:identifier": f"urn:privet:{fleet}:{device}:{purpose['id']}:{to['id']}",
        "dpv:hasDataSubject": "the owner of the device",
        "dpv:hasNotice": {"@type": "dpv:ConsentNotice", "dct:description": to["notice"], "sha256": to["digest"]},
        "dpv:hasPurpose": {"dct:title": purpose["title"], "dct:description": purpose["text"]},
        "dpv:hasLegalBasis": purpose["basis"],
        "dpv:hasPersonalData": [{"dct:title": f["title"], "dct:identifier": f["name"]} for f in row["fields"]],
        "dpv:hasRecipient": {"dct:title": to["name"], "dct:identifier": to["id"], "dpv:hasCountry": to["country"]},
        "dpv:hasStorageCondition": {
            "@type": "dpv:StorageDuration",
            "dpv:hasDuration": f"P{purpose['retention_days']}D",
        },
        "dpv:hasConsentStatus": {"@type": STATUS[to["state"]]},
    }
    if answer is not None:
        event = {"dpv:isIndicatedAtTime": stamp(answer["at"]), "dpv:isIndicatedBy": answer["by"]}
        said = {"@type": STATUS[answer["state"]], "notice_sha256": answer["notice"], **event}
        made["dpv:hasConsentStatus"] = {**made["dpv:hasConsentStatus"], "answer": said}
    if to["deletion"] is not None:
        made["dpv:hasRight"] = erasure(to["deletion"])
    return made


def erasure(row: dict[str, Any]) -> dict[str, Any]:
    """Write that a recipient was asked to delete, and what it answered."""
    made = {
        "@type": "legal-eu-gdpr:A17",
        "dpv:hasStatus": {"@type": "dpv:RequestFulfilled" if row["confirmed"] else "dpv:RequestInitiated"},
        "dpv:isIndicatedAtTime": stamp(row["asked"]),
    }
    if row["confirmed"]:
        made["dct:date"], made["records_deleted"] = stamp(row["confirmed"]), row["deleted"]
    return made


def records(consents: dict[str, Any]) -> list[dict[str, Any]]:
    """Turn all of them into records, one for each purpose and recipient."""
    place = (consents["fleet"], consents["device"])
    return [record(row, to, *place) for row in consents["rows"] for to in row["recipients"]]
