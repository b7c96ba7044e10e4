import Checkpoint
import Glibc
import NetBuffer
import SystemSupport

/// A plug worked by hand, order by order: for tests of the kernel's side, and to see what a plug does. Never for a guest
/// that is protected.
package enum PlugConsole {
    /// Makes, or takes over, the plug of `interfaces`, and carries out the orders on standard input, one a line:
    /// `cut N`, `release N`, `absorb`, `open`, `drop`, `held`, `close`. Each is answered with one line.
    package static func run(domain: UInt32, interfaces: [String], limit: Int) throws {
        let ports = interfaces.enumerated().map { GuestPort(interface: $1, device: $0) }
        let plug = try NetworkPlug(guest: "domain \(domain)", domain: domain, ports: ports, limit: limit)
        answer("ready \(plug.wasClosed ? "closed" : "open")")
        while let line = readLine() {
            do throws(GuestError) {
                answer(try carryOut(line, plug))
            } catch {
                answer("error \(error)")
            }
        }
        plug.close()
    }

    private static func carryOut(_ line: String, _ plug: NetworkPlug) throws(GuestError) -> String {
        let words = line.split(separator: " ")
        switch (words.first, words.dropFirst().first.flatMap { UInt64($0) }) {
        case ("cut"?, let epoch?): try plug.cut(epoch: epoch)
        case ("release"?, let epoch?): try plug.release(epoch: epoch)
        case ("absorb"?, nil): try plug.absorb()
        case ("open"?, nil): try plug.releaseAll()
        case ("drop"?, nil): try plug.dropAll()
        case ("close"?, nil): plug.close()
        case ("held"?, nil):
            let bytes = plug.heldBytes()
            return "held \(bytes) dropped \(plug.drops)"
        default: return "error unknown order: \(line)"
        }
        return "ok"
    }

    private static func answer(_ text: String) {
        let line = Array("\(text)\n".utf8)
        _ = write(1, line, line.count)
    }
}
