"""Injected faults."""
import time


class Faults:
    """Injected faults: rules are tried in order; each runs out after `times`."""

    def __init__(self):
        self.rules, self.log = [], []

    def add(self, method, kind="fault", where="call", fault=None, times=1, delay=0.0, match=lambda mo: True):
        self.rules.append(dict(method=method, kind=kind, where=where, fault=fault, times=times, delay=delay, match=match))

    def hit(self, method, where, mo):
        for r in self.rules:
            if r["times"] and r["where"] == where and r["method"] in (method, "*") and r["match"](mo):
                r["times"] -= 1
                self.log.append((method, where))
                if r["delay"]:
                    time.sleep(r["delay"])
                if r["kind"] == "fault" and r["fault"]:
                    raise r["fault"]
                return r["kind"]
        return None
