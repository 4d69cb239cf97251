"""What a policy in Python is written with: the words of the contract, and the configuration.

Made by `pulsegate policy new`. The words stand in `wit_world`, which componentize-py makes of the
files in `wit`, where each field is documented; this gives them short names.
"""

import json

# What is not among the exports of the world is not there.
try:
    from wit_world.imports.types import Health, Observation, Signals, Status
except ImportError:
    pass
try:
    from wit_world.exports.health import Judgement
except ImportError:
    pass
try:
    from wit_world.exports.cadence import Hint
except ImportError:
    pass
try:
    from wit_world.exports.recovery import Incident, IncidentKind, Plan, Rung
except ImportError:
    pass
from wit_world.exports.manifest import EarlyRule
from wit_world.imports.log import Level, write as log


class Config:
    """What an instance is told when it starts."""

    def __init__(self, text, settings):
        told = json.loads(text)
        # Name of the class that it serves, and what the operator promises for it, times in ms.
        self.class_name = told["class"]["name"]
        self.interval_ms = told["class"]["interval_ms"]
        self.detect_within_ms = told["class"]["detect_within_ms"]
        self.suspect_grace_ms = told["class"]["suspect_grace_ms"]
        self.fail_grace_ms = told["class"]["fail_grace_ms"]
        self.cap_ms = told["class"]["cap_ms"]
        # Ids of the configured executors, in their order, and the time that each is given.
        self.executors = [executor["id"] for executor in told["executors"]]
        self.waits_ms = {executor["id"]: executor["wait_ms"] for executor in told["executors"]}
        # What the operator has set, over the policy's own defaults.
        for name, value in told["settings"].items():
            if name not in settings:
                raise ValueError(f"settings: there is no {name}")
            if _kind(value) is not _kind(settings[name]):
                raise ValueError(f"settings: {name} is not of the kind of {settings[name]!r}")
        self.settings = {**settings, **told["settings"]}


class Context:
    """What a policy may have beyond the observation: custom metrics and memory."""

    __slots__ = ("_metrics", "memory")

    def __init__(self, metrics, memory):
        self._metrics = metrics
        self.memory = memory

    def metric(self, name):
        """A custom metric of this heartbeat; None where it has none of this name."""
        value = self._metrics.get(name)
        return None if value is None or value != value else value


def _kind(value):
    """Whole numbers and fractions are one kind; truth values are another."""
    return float if type(value) is int else type(value)
