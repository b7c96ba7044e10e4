import CLinux
import Checkpoint
import Glibc
import SystemSupport
import Testing
import Transport

@testable import Daemon

/// Losses of real connections, as their sockets show them.
@Suite(.timeLimit(.minutes(3))) struct LinkObservationTests {
    /// Both ends of a TCP connection of this process; `far` is not read by anybody.
    private struct Ends {
        let near: PrimaryConnection
        let far: Descriptor

        init(through relay: ((SocketAddress) throws -> SocketAddress)? = nil) throws {
            let listener = try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0))
            let address = try TCP.localAddress(of: listener)
            near = try PrimaryConnection(connectingTo: try relay?(address) ?? address)
            try #require(Poll.wait(near.descriptor, readable: false, writable: true, milliseconds: 10_000))
            try near.finishConnecting()
            try #require(Poll.wait(listener.raw, milliseconds: 10_000))
            far = try #require(try TCP.accept(listener))
        }
    }

    /// Beats as the machines do until `span` has passed without an answer.
    private func beat(_ connection: PrimaryConnection, for span: TimeSpan) throws {
        let end = Clock.monotonic + span.nanoseconds
        var number: UInt64 = 0
        while Clock.monotonic < end {
            number += 1
            let beat = Heartbeat(number: number, sentAt: Instant(nanoseconds: Clock.boot))
            try connection.queue(.heartbeat(beat), session: 1)
            try connection.flush()
            usleep(100_000)
        }
    }

    private func judge(_ end: LinkFacts.End, _ connection: PrimaryConnection) throws -> LinkFailure {
        let facts = try #require(connection.kernelFacts)
        return LinkFailure(LinkFacts(end, kernel: facts))
    }

    /// What reading a connection that has ended throws.
    private func failure(_ connection: PrimaryConnection) -> ConnectionError? {
        do throws(ConnectionError) {
            for _ in 0..<1000 {
                try connection.receive { _, _ in }
                usleep(10_000)
            }
        } catch {
            return error
        }
        return nil
    }

    @Test func aPeerWhoseProcessEnds() throws {
        let ends = try Ends()
        ends.far.shutDown()
        let error = try #require(failure(ends.near))
        #expect(LinkFacts.End(error) == .byPeer)
    }

    @Test func aPeerThatIsReset() throws {
        let near: PrimaryConnection
        do {
            let ends = try Ends()
            near = ends.near
            // Closed with bytes that nobody read: a reset (RFC 9293, 3.6.1), as of a process that was killed.
            try beat(near, for: .milliseconds(100))
            try #require(Poll.wait(ends.far.raw, milliseconds: 10_000))
        }
        let error = try #require(failure(near))
        #expect(LinkFacts.End(error) == .byPeer)
    }

    @Test func aHostOnWhichNobodyListens() throws {
        let address: SocketAddress
        do {
            address = try TCP.localAddress(of: try TCP.listen(on: SocketAddress(host: "127.0.0.1", port: 0)))
        }
        let connection = try PrimaryConnection(connectingTo: address)
        _ = Poll.wait(connection.descriptor, readable: false, writable: true, milliseconds: 10_000)
        let error = try #require(throws: ConnectionError.self) { try connection.finishConnecting() }
        #expect(LinkFacts.End(error) == .nobodyListens)
    }

    @Test func aProcessThatIsStopped() throws {
        let directory = try TemporaryDirectory()
        let paths = Paths(runtime: directory.path, state: directory.path)
        let pid = try ChildProcess.spawn(
            Program.path,
            ["standby", "--listen", "127.0.0.1:0", "--hooks", directory.file("no-hooks")],
            inherited: [1: try SmallFile.openLog(directory.file("out"))],
            environment: ["REMUSD_RUNTIME_DIR=\(paths.runtime)", "REMUSD_STATE_DIR=\(paths.state)"]
        )
        defer {
            kill(pid, SIGCONT)
            kill(pid, SIGKILL)
            ChildProcess.reap(pid)
        }
        var address: SocketAddress?
        for _ in 0..<3000 where address == nil {
            usleep(10_000)
            let words = (SmallFile.read(directory.file("out")) ?? "").split(separator: " ")
            address = words.dropFirst(3).first.flatMap { SocketAddress(String($0)) }
        }
        let connection = try PrimaryConnection(connectingTo: try #require(address))
        try #require(Poll.wait(connection.descriptor, readable: false, writable: true, milliseconds: 10_000))
        try connection.finishConnecting()
        kill(pid, SIGSTOP)
        let silence = TimeSpan.milliseconds(2000)
        try beat(connection, for: silence)
        #expect(try judge(.silence(silence), connection) == .stopped)
    }

    /// Whatever stands between and acknowledges looks like a peer that is stopped: no more can be known.
    @Test func aRelayThatForwardsNothing() throws {
        var relay: LinkRelay?
        let ends = try Ends { address in
            let made = try LinkRelay(to: address)
            relay = made
            return made.address
        }
        defer { relay?.stop() }
        relay?.setForwarding(false)
        let silence = TimeSpan.milliseconds(2000)
        try beat(ends.near, for: silence)
        #expect(try judge(.silence(silence), ends.near) == .stopped)
    }

    /// Sends more than the peer, which reads nothing, has room for.
    private func fill(_ ends: Ends) throws -> Mapping {
        let memory = try Mapping.anonymous(count: 64 << 20)
        ends.near.send(UnsafeRawBufferPointer(memory.bytes), epoch: 1, endsEpoch: true)
        var sent: UInt64 = 0
        repeat {
            sent = ends.near.dataSent
            try ends.near.flush()
            usleep(200_000)
        } while ends.near.dataSent != sent
        return memory
    }

    @Test func aPeerThatReadsNoMore() throws {
        let ends = try Ends()
        let memory = try fill(ends)
        defer { withExtendedLifetime(memory) {} }
        #expect(!ends.near.isDrained)
        // Its window is closed: nothing is under way, for longer and longer.
        for _ in 0..<500 where ends.near.kernelFacts?.unacknowledged != 0 { usleep(10_000) }
        let facts = try #require(ends.near.kernelFacts)
        #expect(facts.unsentBytes > 0)
        #expect(
            LinkFailure(LinkFacts(.noCommit(silence: .milliseconds(90)), kernel: facts)) == .notCommitting
        )
    }

    /// Whatever reaches the peer's host is thrown away before its kernel looks at it: a host that is off, or a black hole.
    @Test func aHostThatAcknowledgesNothing() throws {
        let ends = try Ends()
        try beat(ends.near, for: .milliseconds(300))
        try throwAwayWhatComes(ends.far)
        let silence = TimeSpan.milliseconds(2000)
        try beat(ends.near, for: silence)
        #expect(try judge(.silence(silence), ends.near) == .unreachable)
    }

    /// The same while the peer's window is closed: what is not acknowledged then is a probe.
    @Test func aHostThatGoesOffWithItsWindowClosed() throws {
        let ends = try Ends()
        let memory = try fill(ends)
        defer { withExtendedLifetime(memory) {} }
        for _ in 0..<500 where ends.near.kernelFacts?.unacknowledged != 0 { usleep(10_000) }
        try throwAwayWhatComes(ends.far)
        // Probes come at longer and longer intervals.
        for _ in 0..<1000 where ends.near.kernelFacts?.unacknowledged == 0 { usleep(10_000) }
        let facts = try #require(ends.near.kernelFacts)
        let silence = facts.sinceAcknowledgement
        #expect(LinkFailure(LinkFacts(.silence(silence), kernel: facts)) == .unreachable)
    }

    /// A filter that takes nothing (SO_ATTACH_FILTER, socket(7); struct sock_fprog of linux/filter.h with one BPF_RET).
    private func throwAwayWhatComes(_ socket: Descriptor) throws {
        let code = UnsafeMutableRawBufferPointer.allocate(byteCount: 8, alignment: 8)
        defer { code.deallocate() }
        code.initializeMemory(as: UInt8.self, repeating: 0)
        code.storeBytes(of: 6, as: UInt16.self)
        let program = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 8)
        defer { program.deallocate() }
        program.initializeMemory(as: UInt8.self, repeating: 0)
        program.storeBytes(of: 1, as: UInt16.self)
        program.storeBytes(of: UInt(bitPattern: code.baseAddress), toByteOffset: 8, as: UInt.self)
        let attach: Int32 = 26
        guard setsockopt(socket.raw, SOL_SOCKET, attach, program.baseAddress, 16) == 0 else {
            throw SystemError("attach a filter")
        }
    }

    /// In a network of its own, whose only interface goes down: nothing can be sent any more, and nothing is said.
    @Test(.enabled(if: Namespace.isAllowed, "a network namespace needs CAP_SYS_ADMIN"))
    func anInterfaceThatIsDown() throws {
        let result = Monitor(Result<LinkFailure, any Error>?.none)
        let thread = try WorkerThread("namespace") {
            let outcome = Result {
                try Namespace.enter()
                try Namespace.setLoopback(up: true)
                let ends = try Ends()
                try beat(ends.near, for: .milliseconds(300))
                try Namespace.setLoopback(up: false)
                let silence = TimeSpan.milliseconds(2000)
                try beat(ends.near, for: silence)
                return try judge(.silence(silence), ends.near)
            }
            result.signal { $0 = outcome }
        }
        thread.join()
        #expect(try result.withLock { $0 }?.get() == .unreachable)
    }

    @Test func theKernelsPatienceIsSet() throws {
        let ends = try Ends()
        let standby = try StandbyConnection(ends.far)
        let both: [any ObservedConnection] = [ends.near, standby]
        for connection in both {
            connection.limitKernel(aloneAfter: .seconds(300))
            var value: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(connection.descriptor, Int32(IPPROTO_TCP), Int32(TCP_USER_TIMEOUT), &value, &length)
            #expect(value == 60_000)
        }
    }

    @Test func whatIsNoTCPIsNotAsked() throws {
        let (near, far) = try UnixSocket.pairOfStreams()
        let connection = PrimaryConnection(over: near)
        connection.limitKernel(aloneAfter: .seconds(10))
        #expect(connection.kernelFacts == nil)
        withExtendedLifetime(far) {}
    }
}

/// A network namespace of the calling thread's own (network_namespaces(7)).
private enum Namespace {
    static let isAllowed: Bool = {
        let allowed = Monitor(false)
        guard
            let thread = try? WorkerThread(
                "namespace",
                { allowed.signal { $0 = unshare(CLONE_NEWNET) == 0 } }
            )
        else { return false }
        thread.join()
        return allowed.withLock { $0 }
    }()

    static func enter() throws {
        guard unshare(CLONE_NEWNET) == 0 else { throw SystemError("enter a network namespace") }
    }

    /// netdevice(7): SIOCSIFFLAGS with struct ifreq, a name of 16 bytes and then the flags, of which IFF_UP is the first.
    static func setLoopback(up: Bool) throws {
        let raw = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw SystemError("create a socket") }
        let control = Descriptor(owning: raw)
        let request = UnsafeMutableRawBufferPointer.allocate(byteCount: 40, alignment: 8)
        defer { request.deallocate() }
        request.initializeMemory(as: UInt8.self, repeating: 0)
        request.copyBytes(from: Array("lo".utf8))
        request.storeBytes(of: Int16(up ? 1 : 0), toByteOffset: 16, as: Int16.self)
        let siocsifflags: UInt = 0x8914
        guard let base = request.baseAddress, ioctl(control.raw, siocsifflags, base) == 0 else {
            throw SystemError("set the loopback interface")
        }
    }
}
