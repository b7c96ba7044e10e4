"""All cases of the lab, in the order in which they run: what later ones build on comes first."""

from cases import hosts, guests, faults, output, remusd, failover, partition, arbitration, standstill, tls, tools, plugs, guardian, standby, boot, interop, beside_xl  # noqa: F401
