import Checkpoint
import Glibc
import SystemSupport
import Testing
import Transport
import XenStream

@testable import Daemon

/// `protect --peer xl`: an xl of another host that starts the guest at any end of its input, and must not.
@Suite(.timeLimit(.minutes(2)))
struct XlPeerTests {
    private let directory: TemporaryDirectory
    private let options: XlPeerOptions

    /// An ssh that stays here, and an xl that keeps what it gets and says when its input has ended.
    init() throws {
        // Whoever is talked to may have ended; remusd ignores the signal too.
        Signals.ignore([SIGPIPE])
        directory = try TemporaryDirectory()
        let path = directory.path
        try directory.write("shift\nexec sh -c \"$1\"\n", to: "ssh")
        try directory.write(
            """
            #!/bin/sh
            [ "$1 $2" = "migrate-receive -r" ] || { echo "$@" >>\(path)/other; exit 0; }
            printf 'xl migration receiver ready, send binary domain data.\\n'
            cat >\(path)/got
            echo >\(path)/started
            """,
            to: "xl"
        )
        try #require(chmod(directory.file("xl"), 0o700) == 0)
        options = XlPeerOptions(
            host: "beta's",
            command: "env REMUSD_XL_RUN=\(path) PATH=\(path):/usr/bin:/bin sh \(path)/ssh"
        )
    }

    private var hello: Hello { .sample(kind: .pv, pages: 40, session: 7, populatedPages: 1) }

    /// The primary's end of a connection, driven by hand.
    private final class Primary {
        let connection: PrimaryConnection
        var messages: [Message] = []
        var isLost = false

        init(_ connection: PrimaryConnection) throws {
            self.connection = connection
            try connection.finishConnecting()
        }

        func say(_ message: Message) throws { try connection.queue(message, session: 7) }

        /// Until something came; false if it did not within 20 s.
        func wait(_ condition: (Message) -> Bool) throws -> Bool {
            for _ in 0..<2000 where !isLost {
                try connection.flush()
                if messages.contains(where: condition) { return true }
                _ = Poll.wait(
                    connection.descriptor,
                    writable: connection.wantsToWrite,
                    milliseconds: 10
                )
                do { try connection.receive { message, _ in messages.append(message) } } catch {
                    isLost = true
                }
            }
            return messages.contains(where: condition)
        }

        func send(_ bytes: [UInt8], epoch: UInt64) throws -> Bool {
            try bytes.withUnsafeBytes { bytes in
                connection.send(bytes, epoch: epoch, endsEpoch: true)
                return try wait { $0 == .ack(epoch: epoch) }
            }
        }
    }

    private func begin() throws -> Primary {
        let primary = try Primary(options.connect())
        try primary.say(.hello(hello))
        let isWelcome = try primary.wait { if case .welcome = $0 { true } else { false } }
        try #require(isWelcome)
        return primary
    }

    private var got: Int {
        var info = stat()
        return stat(directory.file("got"), &info) == 0 ? Int(info.st_size) : -1
    }

    private var hasStarted: Bool { access(directory.file("started"), F_OK) == 0 }

    private func keeper() -> Int32? {
        SmallFile.read(directory.file("remusd-xl-db.pid")).flatMap { Int32($0.filter(\.isNumber)) }
    }

    private func waitUntil(_ condition: () -> Bool) -> Bool {
        for _ in 0..<1000 {
            if condition() { return true }
            usleep(10_000)
        }
        return false
    }

    private let first = [UInt8](repeating: 1, count: 700_001), second = [UInt8](repeating: 2, count: 4097)

    @Test func xlGetsTheStreamAndIsKilledBeforeItsInputEnds() throws {
        let primary = try begin()
        #expect(try primary.send(first, epoch: 0))
        #expect(try primary.send(second, epoch: 1))
        #expect(waitUntil { got == first.count + second.count })
        try primary.say(.plannedEnd(PlannedEnd(reason: .unprotect, generation: 2)))
        #expect(try primary.wait { $0 == .plannedEndAnswer(.dropped, generation: 2) })
        #expect(waitUntil { keeper() == nil })
        #expect(!hasStarted)
        #expect(SmallFile.read(directory.file("other")) == "destroy db--incoming\n")
    }

    @Test func aLostConnectionOfALivingPrimaryEndsXl() throws {
        do {
            let primary = try begin()
            #expect(try primary.send(first, epoch: 0))
        }
        #expect(waitUntil { SmallFile.read(directory.file("other")) != nil })
        #expect(!hasStarted)
    }

    /// A crash: the image stays, and only a person lets it run.
    @Test func whatIsKeptIsActivatedByHandOnly() throws {
        do {
            let primary = try begin()
            #expect(try primary.send(first, epoch: 0))
            try primary.say(.plannedEnd(PlannedEnd(reason: .crashed, generation: 2)))
            #expect(try primary.wait { $0 == .plannedEndAnswer(.kept, generation: 2) })
        }
        let shell = try #require(keeper())
        #expect(!hasStarted)
        #expect(kill(shell, SIGUSR1) == 0)
        #expect(waitUntil { hasStarted })
        #expect(got == first.count)
        #expect(SmallFile.read(directory.file("other")) == nil)
    }

    /// A host that died: here its end of the command's input simply ends, in the middle of a piece.
    @Test func theEndOfTheInputStartsNothing() throws {
        var pipe: (read: Descriptor, write: Descriptor)? = try Pipe.create()
        let input = try #require(pipe?.read)
        let pid = try ChildProcess.spawn(
            "/bin/sh",
            ["-c", XlPeerScript.text(guest: "db")],
            inherited: [0: input],
            environment: ["REMUSD_XL_RUN=\(directory.path)", "PATH=\(directory.path):/usr/bin:/bin"],
            ownSession: true
        )
        let text = Array("4\nabcd100\nabc".utf8)
        #expect(write(pipe?.write.raw ?? -1, text, text.count) == text.count)
        #expect(waitUntil { got == 4 })
        pipe = nil
        // What was begun is all that still comes.
        #expect(waitUntil { got == 7 })
        usleep(300_000)
        #expect(!hasStarted && keeper() == pid)
        #expect(kill(pid, SIGTERM) == 0)
        ChildProcess.reap(pid)
        #expect(!hasStarted && keeper() == nil)
    }

    @Test(arguments: [
        (["web1", "--peer", "xl", "--to", "beta"], "add --unsafe-peer"),
        (["web1", "--unsafe-peer", "--to", "127.0.0.1:1"], "go with --peer xl"),
        (["web1", "--peer-command", "ssh", "--to", "127.0.0.1:1"], "go with --peer xl"),
        (["embedded:web1", "--peer", "xl", "--unsafe-peer", "--to", "beta"], "for Xen's guests"),
        (["web1", "--peer", "xl", "--unsafe-peer", "--to=-oProxyCommand=x"], "name a host"),
        (["web1", "--to", "beta"], "write it like 127.0.0.1:7070"),
    ])
    func aPeerIsUnsafeOnlyWhereItIsSaid(arguments: [String], says: String) throws {
        let result = try Program(directory: directory).run(["protect"] + arguments)
        #expect(result.exitCode == 64)
        #expect(result.error.replacing("\n", with: " ").contains(says), "\(result.error)")
    }

    @Test func anEarlierOneGoesFirst() throws {
        do {
            let primary = try begin()
            #expect(try primary.send(first, epoch: 0))
            try primary.say(.plannedEnd(PlannedEnd(reason: .crashed, generation: 2)))
            #expect(try primary.wait { $0 == .plannedEndAnswer(.kept, generation: 2) })
        }
        let earlier = keeper()
        let primary = try begin()
        #expect(!hasStarted && keeper() != earlier)
        try primary.say(.plannedEnd(PlannedEnd(reason: .unprotect, generation: 2)))
        #expect(try primary.wait { $0 == .plannedEndAnswer(.dropped, generation: 2) })
    }
}
