import Checkpoint
import Glibc
import Logging
import Synchronization
import SystemSupport
import Testing
import Transport

@testable import Daemon

/// One standby and several guests: what one of them takes its time for, and what is refused, is nobody else's trouble.
@Suite(.timeLimit(.minutes(2))) struct CrowdedStandbyTests {
    private let directory: TemporaryDirectory
    private let paths: Paths

    init() throws {
        Signals.ignore([SIGPIPE])
        directory = try TemporaryDirectory()
        paths = Paths(runtime: directory.path, state: directory.path)
        try Guardian.serve(at: paths.guardianSocket())
    }

    private func service(_ change: (inout StandbyOptions) -> Void = { _ in }) throws -> StandbyService {
        var options = StandbyOptions(listen: SocketAddress(host: "127.0.0.1", port: 0), paths: paths)
        options.log = CapturedLog().logger
        change(&options)
        let nothing = Activators(embedded: NoActivator(), xen: NoActivator())
        let service = try StandbyService(options, activator: nothing)
        try WorkerThread("standby") { service.run() }.detach()
        return service
    }

    private func primary(_ service: StandbyService, _ guest: String) throws -> HandPrimary {
        try HandPrimary(to: service.address, .plaintext, host: "alpha", guest: guest)
    }

    @Test func aGuestWhoseDomainTakesItsTimeIsInNobodysWay() throws {
        let begun = EventGate(), mayGoOn = EventGate()
        let service = try service { options in
            options.warmStart = { guest in
                guard guest.name == "slow" else { return nil }
                begun.open()
                mayGoOn.wait()
                return nil
            }
        }
        defer { service.stop() }
        let good = try primary(service, "good")
        good.pump { $0.isWelcome }
        good.commit()
        // It says hello and waits; what it would have been beaten with is not sent before its welcome.
        let slow = Background {
            let slow = try primary(service, "slow")
            slow.pump { $0.isWelcome }
            slow.commit()
            slow.commit()
            return (slow.isWelcome, slow.acked, slow.lost == nil)
        }
        begun.wait()
        for _ in 0..<3 { good.commit() }
        #expect(good.acked == 4 && good.lost == nil)
        let third = try primary(service, "third")
        third.pump { $0.isWelcome }
        #expect(third.isWelcome)
        #expect(service.usedMemory > 0)
        #expect(service.allGuests.map { $0.status(ceiling: 1, used: 0).guest } == ["good", "slow", "third"])
        let inquiry = Inquiry(name: "slow", uuid: GuestUUID(high: 1, low: 2))
        #expect(try service.claim(for: inquiry).holding == .nothing)
        mayGoOn.open()
        let (isWelcome, acked, isThere) = try slow.value()
        #expect(isWelcome && acked == 2 && isThere)
    }

    @Test func aDomainThatCannotBeBegunIsARefusal() throws {
        let service = try service { options in
            options.warmStart = { throw GuestError(guest: $0.name, reason: "no memory for it") }
        }
        defer { service.stop() }
        let guest = try primary(service, "web1")
        guest.pump { $0.isWelcome }
        #expect(!guest.isWelcome && guest.refusal?.text.contains("no memory for it") == true)
    }

    @Test func aGuestThatIsRefusedLeavesNoneBehind() throws {
        let service = try service { $0.memoryCeiling = 4096 }
        defer { service.stop() }
        for number in 0..<20 {
            let guest = try primary(service, "guest\(number)")
            guest.pump { $0.isWelcome }
            #expect(guest.refusal?.reason == .noMemory)
        }
        // The last session's thread may not have left yet.
        for _ in 0..<500 where !service.allGuests.isEmpty { usleep(10_000) }
        #expect(service.allGuests.isEmpty)
    }

    @Test func aGuestThatWasTakenStaysKnown() throws {
        let service = try service()
        defer { service.stop() }
        do {
            let guest = try primary(service, "web1")
            guest.pump { $0.isWelcome }
        }
        for _ in 0..<500 where service.allGuests.first?.state.withLock({ $0.connections.isEmpty }) == false {
            usleep(10_000)
        }
        usleep(50_000)
        #expect(service.allGuests.map(\.name.text) == ["web1"])
    }

    @Test func aGuestThatIsOnlyKnownCostsNoDescriptor() throws {
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        func eventDescriptors() -> Int {
            (0..<1024).filter { number in
                var target = [CChar](repeating: 0, count: 64)
                guard readlink("/proc/self/fd/\(number)", &target, 63) > 0 else { return false }
                return String(decoding: target.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
                    .contains("eventfd")
            }.count
        }
        let before = eventDescriptors()
        let runners = try (0..<300).map { number in
            HookRunner(HookOptions(), paths, role: .standby, try GuestName("guest\(number)"), log)
        }
        // Other tests come and go meanwhile.
        #expect(eventDescriptors() - before < 200)
        withExtendedLifetime(runners) {}
    }
}
