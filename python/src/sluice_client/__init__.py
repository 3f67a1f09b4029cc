"""Live MQTT channels from a Sluice gateway."""
from .client import Gap, Message, Refused, Sluice
from .plain import SyncSluice

__all__ = ["Gap", "Message", "Refused", "Sluice", "SyncSluice"]
