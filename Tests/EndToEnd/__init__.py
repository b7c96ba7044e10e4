"""What scripts/e2e is made of: rig (processes), traffic (clients), relay (network), cases, faults."""
