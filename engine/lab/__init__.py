"""An embedded vSphere that speaks the real protocols on loopback, over VMs with real disk contents."""

from engine.lab.embedded import Lab

__all__ = ["Lab"]
