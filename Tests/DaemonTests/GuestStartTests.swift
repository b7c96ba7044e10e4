import Checkpoint
import EmbeddedHost
import Glibc
import SystemSupport
import Testing
import Transport

@testable import Daemon

/// A host that boots asks the other one, over a real connection, before it starts what remusd knows.
@Suite struct GuestStartTests {
    private let here, there: TemporaryDirectory
    private let herePaths, therePaths: Paths
    private let name: GuestName
    private let uuid = GuestUUID(high: 1, low: 2)

    init() throws {
        here = try TemporaryDirectory()
        there = try TemporaryDirectory()
        herePaths = Paths(runtime: here.path, state: here.path)
        therePaths = Paths(runtime: there.path, state: there.path)
        name = try GuestName("db")
    }

    private func primary(_ generation: UInt64, at paths: Paths, peer: String?, host: String? = nil) throws {
        var record = PrimaryRecord(
            guest: "db",
            uuid: uuid.description,
            generation: generation,
            session: nil,
            peer: peer,
            // So that this machine has been up for long enough, whenever it was started.
            aloneAfterMs: 1
        )
        record.standbyHost = host
        try record.store(at: paths.primaryRecord(name))
    }

    private func standby(_ generation: UInt64, _ state: StandbyRecord.State, at paths: Paths) throws {
        let record = StandbyRecord(guest: "db", uuid: uuid.description, generation: generation, state: state)
        try record.store(at: paths.standbyRecord(name))
    }

    /// With a `remusd standby` on the other host.
    private func withStandby(
        _ security: LinkSecurity = .plaintext,
        _ body: (SocketAddress) throws -> Void
    ) throws {
        try Guardian.serve(at: therePaths.guardianSocket())
        let any = try #require(SocketAddress("127.0.0.1:0"))
        let activator = EmbeddedActivator(runtimeDirectory: therePaths.runtime)
        var options = StandbyOptions(listen: any, paths: therePaths)
        options.security = security
        let service = try StandbyService(options, activator: activator)
        let thread = try WorkerThread("standby") { service.run() }
        defer {
            service.stop()
            thread.join()
        }
        try body(service.address)
    }

    private func decision(_ order: GuestStart.Order = GuestStart.Order()) throws -> StartDecision {
        try #require(try GuestStart(name, herePaths)).decide(order).decision
    }

    @Test func aGuestThatRemusdDoesNotKnowIsNobodysBusiness() throws {
        #expect(try GuestStart(name, herePaths) == nil)
    }

    @Test func theOtherHostIsAskedAndItsRecordsCount() throws {
        try withStandby { address in
            try primary(3, at: herePaths, peer: address.description)
            // Nobody proved who it is, and it knows nothing of the guest.
            #expect(try decision() == .peerNotAsked(passes: false))
            try standby(3, .image, at: therePaths)
            // A record alone is no image: it was in a memory that is gone.
            #expect(try decision() == .start(generation: 4))
            try standby(4, .active, at: therePaths)
            #expect(try decision() == .activeElsewhere(generation: 4))
            try primary(5, at: therePaths, peer: nil)
            #expect(try decision() == .activeElsewhere(generation: 5))
        }
    }

    /// Both hosts' keys, and each one's record of the other: `there` is called beta.
    private func pair(notAfter: Int64? = nil) throws {
        let pins = (try HostIdentity.load(herePaths).pin, try HostIdentity.load(therePaths).pin)
        let (alpha, beta) = (try HostName("alpha"), try HostName("beta"))
        try PeerBook(herePaths).store(PeerRecord(host: beta, pin: pins.1, notAfter: notAfter), beta)
        try PeerBook(therePaths).store(PeerRecord(host: alpha, pin: pins.0), alpha)
    }

    /// Any host that this one is paired with can say that it knows nothing.
    @Test func onlyTheOtherHostsWordCounts() throws {
        try pair()
        var order = GuestStart.Order()
        order.link = .tls
        try withStandby(try HostIdentity.security(therePaths)) { address in
            try primary(3, at: herePaths, peer: address.description, host: "beta")
            #expect(try decision(order) == .start(generation: 4))
            try primary(3, at: herePaths, peer: address.description, host: "gamma")
            #expect(try decision(order) == .peerNotAsked(passes: false))
            // An older record names nobody: then the other host must know the guest.
            try primary(3, at: herePaths, peer: address.description)
            #expect(try decision(order) == .peerNotAsked(passes: false))
            try standby(2, .dropped, at: therePaths)
            #expect(try decision(order) == .start(generation: 4))
            // Where the guest came from, unless it was protected from here since.
            var record = StandbyRecord(guest: "db", uuid: uuid.description, generation: 2, state: .active)
            record.primaryHost = "gamma"
            try record.store(at: herePaths.standbyRecord(name))
            #expect(try decision(order) == .peerNotAsked(passes: false))
            try primary(3, at: herePaths, peer: address.description, host: "beta")
            #expect(try decision(order) == .start(generation: 4))
            record.generation = 4
            try record.store(at: herePaths.standbyRecord(name))
            #expect(try decision(order) == .peerNotAsked(passes: false))
            // Whoever makes sure that it is off needs no answer.
            order.confirmFenced = "gamma"
            #expect(try decision(order) == .start(generation: 5))
        }
    }

    /// What this host could mend is not called the other one's silence, and is no reason to fence anybody.
    @Test func whatThisHostCannotAskIsNotTheOthersSilence() throws {
        var order = GuestStart.Order()
        order.link = .tls
        func expectOwnFault(_ words: String) throws {
            let answer = try #require(try GuestStart(name, herePaths)).decide(order)
            #expect(answer.decision == .peerNotAsked(passes: false))
            #expect(answer.text.contains(words) && !answer.text.contains("fence"), "\(answer.text)")
        }
        try withStandby { address in
            try primary(3, at: herePaths, peer: address.description)
            try pair()
            try expectOwnFault("does not speak TLS")
        }
        try withStandby(try HostIdentity.security(therePaths)) { address in
            try primary(3, at: herePaths, peer: address.description, host: "beta")
            try pair(notAfter: 1)
            try expectOwnFault("has expired")
            order.link = .plaintext
            try expectOwnFault("takes TLS only")
            order.link = .tls
            try here.write("garbage", to: "host-key.pem")
            try expectOwnFault("host-key.pem")
            let said = try Program(directory: here).run("start", "db", "--dry-run", "--tls")
            #expect(said.exitCode == 78, "\(said.error)")
        }
        try primary(3, at: herePaths, peer: nil)
        try expectOwnFault("--peer")
    }

    @Test func aPeerThatClosesIsNotSilentEither() throws {
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        let closer = Background { while let socket = try TCP.accept(listener) { socket.shutDown() } }
        try primary(3, at: herePaths, peer: try TCP.localAddress(of: listener).description)
        #expect(try decision() == .peerNotAsked(passes: true))
        listener.shutDown()
        _ = try? closer.value()
    }

    /// A byte now and then does not hold the boot.
    @Test func anAnswerThatTricklesInIsNotWaitedFor() throws {
        let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
        let slow = Background {
            guard let socket = try TCP.accept(listener) else { return }
            let frame = Message.claim(HostClaim(primary: 1)).withFrame(session: 0) { Array($0) }
            for byte in frame {
                usleep(100_000)
                try UnixSocket.send([byte], over: socket)
            }
        }
        #expect(throws: (any Error).self) {
            try PeerInquiry.ask(
                Inquiry(name: "db", uuid: uuid),
                at: TCP.localAddress(of: listener),
                security: .plaintext,
                host: nil,
                milliseconds: 300
            )
        }
        _ = try? slow.value()
    }

    @Test func aSilentHostKeepsItFromBeingStarted() throws {
        // Discard's port, where nobody listens: refused at once.
        try primary(3, at: herePaths, peer: "127.0.0.1:9")
        #expect(try decision() == .peerSilent)
        var order = GuestStart.Order()
        order.confirmFenced = "127.0.0.1"
        #expect(try decision(order) == .start(generation: 4))
        order.confirmFenced = "somebody.else"
        #expect(throws: StartError.self) { try decision(order) }
    }

    @Test func whatIsRecordedBeforeTheStartOutranksWhatWasBefore() throws {
        try primary(3, at: herePaths, peer: "10.0.0.2:7070")
        try #require(try GuestStart(name, herePaths)).record(4, GuestStart.Order())
        let claim = try HostClaim(recordedFor: name, uuid: uuid.description, in: herePaths)
        #expect(claim == HostClaim(primary: 4))
        #expect(try PrimaryRecord.load(from: herePaths.primaryRecord(name))?.peer == "10.0.0.2:7070")
    }

    /// In place of xl: the name is all that a configuration says.
    @Sendable private static func name(_ path: String) throws -> String {
        let text = SmallFile.read(path) ?? ""
        guard !text.isEmpty else { throw SystemError("read \(path)", code: EINVAL) }
        return text
    }

    /// What xendomains is shown: guests of nobody's, and those that ran here last.
    @Test func theBootGuardLinksWhatMayStart() throws {
        let auto = here.file("auto.xen")
        try SmallFile.makeDirectories(auto)
        for guest in ["db", "other"] { try here.write(guest, to: "auto.xen/\(guest).cfg") }
        let shown = here.file("auto")
        func run() throws -> [BootGuard.Entry] {
            try BootGuard(herePaths, from: auto, to: shown, saved: here.path, nameOf: Self.name)
                .run(patience: .milliseconds(0))
        }
        func links() -> [Bool] { ["db.cfg", "other.cfg"].map { access("\(shown)/\($0)", R_OK) == 0 } }
        try withStandby { address in
            try primary(3, at: herePaths, peer: address.description)
            try standby(4, .active, at: therePaths)
            try here.write("saved", to: "db")
            let held = try run()
            #expect(access(here.file("db"), F_OK) != 0)
            #expect(SmallFile.read(here.file("held-by-remusd/db")) == "saved")
            #expect(held.map(\.starts) == [false, true])
            #expect(held[0].reason.contains("at generation 4"))
            #expect(links() == [false, true])
            // The other host was not it, after all.
            try standby(2, .dropped, at: therePaths)
            #expect(try run().map(\.starts) == [true, true])
            #expect(links() == [true, true])
            #expect(try PrimaryRecord.load(from: herePaths.primaryRecord(name))?.generation == 4)
        }
        #expect(try run().map(\.starts) == [false, true])
        #expect(links() == [false, true])
    }

    /// xendomains restores whatever was saved, whether or not it is to be started at boot.
    @Test func whatWasSavedIsHeldOfEveryGuestThatMayBeKnown() throws {
        let saved = here.file("save"), auto = here.file("auto.xen")
        for folder in [saved, auto] { try SmallFile.makeDirectories(folder) }
        try primary(3, at: herePaths, peer: "127.0.0.1:9")
        try here.write("{", to: "primary-broken.json")
        for guest in ["db", "broken", "nobodys"] { try here.write(guest, to: "save/\(guest)") }
        let entries = try BootGuard(
            herePaths,
            from: auto,
            to: here.file("auto"),
            saved: saved,
            nameOf: Self.name
        )
        .run(patience: .milliseconds(0))
        #expect(entries.isEmpty)
        #expect(SmallFile.names(in: saved).sorted() == ["held-by-remusd", "nobodys"])
        #expect(SmallFile.names(in: saved + "/held-by-remusd").sorted() == ["broken", "db"])
    }

    /// Whatever fails after it: xendomains may be started all the same.
    @Test func whatWasSavedIsHeldFirst() throws {
        let saved = here.file("save"), blocked = here.file("file/auto")
        try SmallFile.makeDirectories(saved + "/folder")
        try here.write("", to: "file")
        try primary(3, at: herePaths, peer: nil)
        for guest in ["db", "nobodys"] { try here.write(guest, to: "save/\(guest)") }
        #expect(throws: SystemError.self) {
            try BootGuard(herePaths, from: here.file("none"), to: blocked, saved: saved, nameOf: Self.name)
                .run(patience: .milliseconds(0))
        }
        #expect(SmallFile.names(in: saved).sorted() == ["folder", "held-by-remusd", "nobodys"])
        // Without the records everything may be known.
        let ended = try Program(directory: here).run("boot-guard", "--saved", saved, runtime: blocked)
        #expect(ended.exitCode == 78)
        #expect(SmallFile.names(in: saved).sorted() == ["folder", "held-by-remusd"])
        #expect(SmallFile.names(in: saved + "/held-by-remusd").sorted() == ["db", "nobodys"])
    }

    @Test func aFileThatNamesNoGuestStopsNobody() throws {
        try SmallFile.makeDirectories(here.file("auto.xen"))
        for guest in ["a guest", "other"] { try here.write(guest, to: "auto.xen/\(guest).cfg") }
        // It may be of any guest, whatever the file is called.
        try here.write("", to: "auto.xen/nobodys.cfg")
        let entries = try BootGuard(
            herePaths,
            from: here.file("auto.xen"),
            to: here.file("auto"),
            saved: here.file("save"),
            nameOf: Self.name
        )
        .run(patience: .milliseconds(0))
        #expect(entries.map(\.starts) == [false, false, true])
        #expect(entries.map(\.guest) == ["a guest", "nobodys", "other"])
        #expect(entries[1].reason.contains("xl cannot read it"))
    }

    @Test func aRecordThatCannotBeReadKeepsItFromBeingStarted() throws {
        try SmallFile.makeDirectories(here.file("auto.xen"))
        try here.write("db", to: "auto.xen/db.cfg")
        try here.write("{", to: "primary-db.json")
        let shown = try BootGuard(
            herePaths,
            from: here.file("auto.xen"),
            to: here.file("auto"),
            saved: here.path,
            nameOf: Self.name
        )
        .run(patience: .milliseconds(0))
        #expect(shown.map(\.starts) == [false])
        #expect(shown[0].reason.contains("cannot be used"))
    }
}
