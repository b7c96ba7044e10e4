import Checkpoint
import SystemSupport
import Testing

@testable import Daemon

/// A name is looked up where nobody waits for it.
@Suite(.timeLimit(.minutes(1))) struct StandbyAddressTests {
    private let name = SocketAddress(host: "standby.example", port: 7070)

    private func at(_ host: String) -> SocketAddress { SocketAddress(host: host, port: 7070) }

    @Test func numbersAreTakenAsTheyAre() throws {
        for host in ["192.0.2.7", "2001:db8::7"] {
            let address = StandbyAddress(at(host)) { asked throws(SystemError) in
                throw SystemError("be asked for \(asked)")
            }
            address.lookUpFirst(within: .seconds(60))
            #expect(try address.next() == at(host))
        }
    }

    @Test func eachAddressHasItsTurn() throws {
        let (one, two) = (at("192.0.2.1"), at("192.0.2.2"))
        let address = StandbyAddress(name) { _ throws(SystemError) in [one, two] }
        address.lookUpFirst(within: .seconds(60))
        #expect(try (0..<3).map { _ in try address.next() } == [one, two, one])
    }

    @Test func whatIsNotKnownYetIsSaidAtOnce() throws {
        let gate = EventGate()
        let found = at("192.0.2.1")
        let address = StandbyAddress(name) { _ throws(SystemError) in
            gate.wait()
            return [found]
        }
        #expect(throws: SystemError.self) { try address.next() }
        gate.open()
        address.lookUpFirst(within: .seconds(60))
        #expect(try address.next() == found)
    }

    @Test func theResolversTroubleIsSaid() throws {
        let address = StandbyAddress(name) { asked throws(SystemError) in
            throw SystemError("resolve host \(asked.host)", code: 99)
        }
        address.lookUpFirst(within: .seconds(60))
        #expect(throws: SystemError("resolve host standby.example", code: 99)) { try address.next() }
    }

    @Test func theSystemsOwnResolverAnswersInNumbers() throws {
        let found = try TCP.addresses(of: SocketAddress(host: "localhost", port: 5))
        #expect(!found.isEmpty && found.allSatisfy { TCP.isNumeric($0) && $0.port == 5 && $0.isLoopback })
        #expect(!TCP.isNumeric(SocketAddress(host: "localhost", port: 5)))
    }
}
