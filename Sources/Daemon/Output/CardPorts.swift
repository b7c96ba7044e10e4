import Checkpoint
import Glibc
import NetBuffer
import XenHost

/// The host's interfaces of a guest's network card.
enum CardPorts {
    /// Its vif and, while an emulated card is plugged in, that one's tap.
    /// - Parameter interval: from one cut to the next; how much may be held goes by it.
    static func ports(of card: GuestDevices.Card, interval: TimeSpan) -> [GuestPort] {
        let limit = HoldLimit.bytes(rate: card.rate, interval: interval.nanoseconds)
        let vif = GuestPort(interface: card.interface, device: card.device, limit: limit)
        let tap = GuestPort(
            interface: card.interface + "-emu",
            device: card.device,
            isEmulated: true,
            limit: limit
        )
        return card.isEmulated && if_nametoindex(tap.interface) != 0 ? [vif, tap] : [vif]
    }
}
