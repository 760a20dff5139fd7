"""The words for who is who: market roles of organisations, and what a person is in an organisation.

Market roles are the emitter roles of the custody vocabulary (`fixtures/custody/events.yaml`) that an organisation can
have; the vocabulary's `system` and `author_of_original` are not organisations. Nothing outside `policy` decides by
these names.
"""

from django.db.models import TextChoices

PLATFORM = "platform"  # the operator itself, as an organisation; its id is fixed by the log's format


class MarketRole(TextChoices):
    """What an organisation does in the supply chain."""

    MANUFACTURER = "manufacturer", "Manufacturer"
    CERTIFICATION_BODY = "certification_body", "Certification body"
    NOTIFIED_BODY = "notified_body", "Notified body"
    LOGISTICS_PROVIDER = "logistics_provider", "Logistics provider"
    UTILITY = "utility", "Utility"
    OPERATOR = "operator", "Operator"
    ASSET_PROVIDER = "asset_provider", "Asset provider"
    HEAD_END = "head_end", "Head-end system"
    INSTALLER = "installer", "Installer"
    TRIAGE_FACILITY = "triage_facility", "Triage facility"
    RECYCLER = "recycler", "Recycler"
    AUDITOR = "auditor", "Auditor"
    REGULATOR = "regulator", "Regulator"


class MembershipRole(TextChoices):
    """What a person may be in an organisation."""

    ADMINISTRATOR = "administrator", "Platform administrator"
    AUDITOR = "auditor", "Auditor"
    REGULATOR = "regulator", "Regulator"
    MANAGER = "manager", "Manager"
    MEMBER = "member", "Member"


# A role that needs a particular kind of organisation; the others fit any organisation but the platform's.
NEEDS_MARKET_ROLE = {MembershipRole.AUDITOR: MarketRole.AUDITOR, MembershipRole.REGULATOR: MarketRole.REGULATOR}
