import CNetlink
import Glibc
import SystemSupport

/// Sends frames as if a guest's NIC had sent them.
///
/// The bridge, and all switches behind it, must learn that the NIC's hardware address is at the interface now. So the
/// frames must come in at the interface. What is sent to the interface goes to the guest; what is sent to
/// the bridge teaches the bridge itself nothing, and floods back to the guest, which would see somebody advertise its
/// own addresses and could give them up (RFC 4862, section 5.4.4). So the frames go out at a device of our own, whose egress
/// redirects everything to the interface's *ingress*. That also holds for bridges with VLANs and for Open vSwitch.
package final class Announcer {
    /// When a round is sent, in milliseconds after the first.
    package static let rounds = [0, 100, 500, 1000, 2000]

    /// Of the device's name; the interface's index follows.
    private static let namePrefix = "rmn"

    private let kernel: NetlinkSocket
    private let device: Int32
    private let socket: Descriptor

    /// Makes the device that leads to `interface`. Needs CAP_NET_ADMIN and CAP_NET_RAW.
    package init(interface: String) throws(NetlinkError) {
        let kernel = try NetlinkSocket()
        self.kernel = kernel
        guard let target = try Announcer.state(of: interface, kernel)?.index else {
            throw NetlinkError("find \(interface)", code: ENODEV)
        }
        let name = Self.namePrefix + "\(target)"
        // One that a killed process left.
        if let left = try Announcer.state(of: name, kernel) { try Announcer.remove(left.index, kernel) }
        try kernel.ask("make \(name)", NetlinkRequest.makeDevice(name)) { _ in }
        guard let device = try Announcer.state(of: name, kernel)?.index else {
            throw NetlinkError("find \(name)", code: ENODEV)
        }
        self.device = device
        do throws(NetlinkError) {
            try kernel.ask("name \(name)", NetlinkRequest.name(device, alias: interface)) { _ in }
            try? SmallFile.overwrite("/proc/sys/net/ipv6/conf/\(name)/disable_ipv6", with: "1")
            try kernel.ask("redirect \(name)", NetlinkRequest.makeClassifier(on: device)) { _ in }
            try kernel.ask("redirect \(name)", NetlinkRequest.inject(from: device, into: target)) { _ in }
            try kernel.ask("bring \(name) up", NetlinkRequest.bringUp(device)) { _ in }
            socket = try Announcer.openSocket(on: device)
        } catch {
            try? Announcer.remove(device, kernel)
            throw error
        }
    }

    deinit { try? Announcer.remove(device, kernel) }

    static func isName(_ name: String) -> Bool {
        name.hasPrefix(namePrefix) && UInt32(name.dropFirst(namePrefix.count)) != nil
    }

    /// Sends one frame with its Ethernet header.
    package func send(_ frame: [UInt8]) throws(NetlinkError) {
        guard Glibc.send(socket.raw, frame, frame.count, 0) == frame.count else {
            throw NetlinkError("send an announcement", code: errno)
        }
    }

    /// Announces NICs in several rounds, once their interfaces can pass frames on. Blocks until the last round: for a thread of
    /// its own.
    /// - Parameter patience: milliseconds that are waited for an interface to be in a bridge and to have its guest.
    /// - Returns: what could not be announced, and why.
    package static func run(
        _ announcements: [Announcement],
        rounds: [Int] = Announcer.rounds,
        patience: Int = 10_000
    ) -> [NetlinkError] {
        var failures: [NetlinkError] = []
        var ready: [(announcer: Announcer, frames: [[UInt8]])] = []
        let deadline = Clock.monotonic + UInt64(patience) * 1_000_000
        for announcement in announcements {
            do throws(NetlinkError) {
                try wait(for: announcement.interface, until: deadline)
                ready.append((try Announcer(interface: announcement.interface), announcement.frames))
            } catch {
                failures.append(error)
            }
        }
        let began = Clock.monotonic
        for round in rounds where !ready.isEmpty {
            let due = began + UInt64(round) * 1_000_000
            let now = Clock.monotonic
            if due > now { usleep(UInt32((due - now) / 1000)) }
            for (announcer, frames) in ready {
                for frame in frames {
                    do throws(NetlinkError) {
                        try announcer.send(frame)
                    } catch {
                        failures.append(error)
                    }
                }
            }
        }
        return failures
    }

    /// Waits until an interface is in a bridge and its guest is connected; gives up quietly.
    private static func wait(for interface: String, until deadline: UInt64) throws(NetlinkError) {
        let kernel = try NetlinkSocket()
        while Clock.monotonic < deadline {
            // IFF_RUNNING of linux/if.h: the other end is there.
            if let state = try state(of: interface, kernel), state.master != 0, state.flags & 0x40 != 0 {
                return
            }
            usleep(20_000)
        }
    }

    private static func state(
        of interface: String,
        _ kernel: NetlinkSocket
    ) throws(NetlinkError) -> (index: Int32, master: Int32, flags: UInt32)? {
        var found: (index: Int32, master: Int32, flags: UInt32)?
        do throws(NetlinkError) {
            try kernel.ask("find \(interface)", NetlinkRequest.device(named: interface)) { reply in
                // struct ifinfomsg: index at 4, flags at 8.
                guard let link = NetInterface(reply) else { return }
                found = (link.index, link.master, reply.field(8, as: UInt32.self))
            }
        } catch {
            if !error.isAbsence { throw error }
        }
        return found
    }

    private static func remove(_ device: Int32, _ kernel: NetlinkSocket) throws(NetlinkError) {
        try kernel.ask("remove device \(device)", NetlinkRequest.removeDevice(device)) { _ in }
    }

    private static func openSocket(on device: Int32) throws(NetlinkError) -> Descriptor {
        // Protocol 0: it receives nothing (packet(7)).
        let raw = Glibc.socket(AF_PACKET, Int32(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw NetlinkError("open a packet socket", code: errno) }
        let socket = Descriptor(owning: raw)
        guard CNetlink_bind_packet(raw, device) == 0 else {
            throw NetlinkError("bind a packet socket", code: errno)
        }
        return socket
    }
}
