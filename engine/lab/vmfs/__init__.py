"""VMFS volumes on LUN image files, written from what is known of the format on disk.

Genuine enough for foreign readers (tests/vmfs lets three of them read it), and no more: no journal, no heartbeats, no
checksums; ESXi could not mount it. Knows nothing of the engine's reader, so that each checks the other.
"""
