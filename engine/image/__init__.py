"""The files that disk bytes become, and reading them back: `compact` (streamOptimized VMDK) and `flat`."""
