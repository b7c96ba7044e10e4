import Checkpoint
import Foundation
import Glibc
import Synchronization
import SystemSupport
import Testing
import XenHost
import XenStream

/// A builder that keeps what it reads, and writes down what is done to its domain.
private final class FakeBuilder: WarmBuilder {
    let bytes = Mutex<[UInt8]>([])
    let events = Monitor<[String]>([])
    let isAborted = Mutex(false)
    /// Fails after that many bytes.
    let limit: Int

    init(limit: Int = .max) { self.limit = limit }

    func build(from stream: Descriptor) throws(XenError) -> UInt32 {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            guard Poll.wait(stream.raw, milliseconds: 20) else {
                if isAborted.withLock({ $0 }) { throw XenError("aborted") }
                continue
            }
            let count = read(stream.raw, &chunk, chunk.count)
            if count <= 0 { break }
            let all = bytes.withLock { bytes in
                bytes += chunk[..<count]
                return bytes.count
            }
            if all > limit { throw XenError("no memory") }
        }
        if isAborted.withLock({ $0 }) { throw XenError("aborted") }
        events.signal { $0.append("built") }
        return 7
    }

    func abort() { isAborted.withLock { $0 = true } }
    func run(_ domid: UInt32) throws(XenError) { events.signal { $0.append("run \(domid)") } }
    func destroy(_ domid: UInt32) { events.signal { $0.append("destroy \(domid)") } }
    func accompany(_ domid: UInt32) { events.signal { $0.append("ended \(domid)") } }
    var said: [String] { events.withLock { $0 } }
}

/// The warm helper and its standby, talking: what libxl gets, and when a domain runs.
@Suite(.timeLimit(.minutes(1)))
struct WarmTests {
    private let xen: ScriptedXen
    private let path: String
    /// An xl header with 12 bytes of optional data, then what libxl is to get.
    private let epoch0: [UInt8]
    private let stream = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }

    init() throws {
        xen = try ScriptedXen()
        path = xen.path("warm.sock")
        epoch0 = [UInt8](repeating: 1, count: 44) + [12, 0, 0, 0] + [UInt8](repeating: 2, count: 12) + stream
    }

    private func helper(_ builder: FakeBuilder) throws -> WorkerThread {
        let path = path
        let ready = Monitor(false)
        let thread = try WorkerThread("helper") {
            guard let helper = try? WarmHelper(path: path, builder: builder) else { return }
            ready.signal { $0 = true }
            helper.run()
        }
        _ = ready.wait { $0 ? true : nil }
        return thread
    }

    private func connect() throws -> WarmGuest { try WarmGuest.connect(to: path, guest: "db") }

    /// Sends epoch 0 in pieces of `size`.
    private func sync(_ guest: WarmGuest, pieces size: Int = 70_000, whole: Bool = true) throws {
        for start in stride(from: 0, to: epoch0.count, by: size) {
            try epoch0[start..<min(start + size, epoch0.count)].withUnsafeBytes { try guest.take($0) {} }
        }
        if whole { try guest.whole {} }
    }

    private func file(_ bytes: [UInt8]) throws -> Descriptor {
        let file = try Memfd.create(name: "epoch", size: 1 << 20)
        let mapping = try Mapping.shared(file, count: 1 << 20)
        UnsafeMutableRawBufferPointer(rebasing: mapping.bytes[..<bytes.count]).copyBytes(from: bytes)
        return file
    }

    @Test(arguments: [1, 47, 61, 70_000])
    func libxlGetsItsStreamAndTheGuestRunsWhenGranted(_ pieces: Int) throws {
        let builder = FakeBuilder()
        let thread = try helper(builder)
        let guest = try connect()
        if pieces == 1 {
            for index in 0..<100 { try epoch0[index...index].withUnsafeBytes { try guest.take($0) {} } }
            try epoch0[100...].withUnsafeBytes { try guest.take($0) {} }
            try guest.whole {}
        } else {
            try sync(guest, pieces: pieces)
        }
        try guest.feed(1, length: 5, of: try file([1, 2, 3, 4, 5, 6]), progress: {})
        try guest.feed(2, length: 2, of: try file([9, 8, 7]), progress: {})
        #expect(builder.said == [], "nothing is finished while it is fed")
        var seen: [String] = []
        try guest.run { seen = builder.said }
        thread.join()
        #expect(seen == ["built"], "it is built and does not run before it is said that it may")
        #expect(builder.said == ["built", "run 7", "ended 7"])
        #expect(builder.bytes.withLock { $0 } == stream + [1, 2, 3, 4, 5, 9, 8])
    }

    @Test func aLaterStandbyGoesOnWhereItWas() throws {
        let builder = FakeBuilder()
        let thread = try helper(builder)
        try sync(try connect())
        let second = try connect()
        var state = try second.ask()
        #expect(state.fed == 0 && state.stage == .fed)
        // Fed, and the standby died before it heard so: fed again it is nothing.
        try second.feed(1, length: 3, of: try file([1, 2, 3]), progress: {})
        let third = try connect()
        try third.feed(1, length: 3, of: try file([1, 2, 3]), progress: {})
        state = try third.ask()
        #expect(state.fed == 1)
        #expect(throws: GuestError.self) {
            try third.feed(5, length: 3, of: try file([1, 2, 3]), progress: {})
        }
        // A standby that goes away ends nothing and starts nothing.
        #expect(builder.said == [])
        let fourth = try connect()
        fourth.drop()
        thread.join()
        #expect(builder.bytes.withLock { $0 } == stream + [1, 2, 3])
        #expect(builder.said == [], "it was never finished")
        #expect(access(path, F_OK) != 0)
    }

    @Test func aGuestThatWasNeverWholeIsNothing() throws {
        let builder = FakeBuilder()
        let thread = try helper(builder)
        do {
            let guest = try connect()
            try sync(guest, whole: false)
        }
        thread.join()
        #expect(builder.said == [] && builder.isAborted.withLock { $0 })
        let other = FakeBuilder()
        let second = try helper(other)
        let guest = try connect()
        try sync(guest, whole: false)
        #expect(throws: GuestError.self) { try guest.run {} }
        second.join()
        #expect(other.said == [])
    }

    @Test func whyItIsLostIsSaid() throws {
        let builder = FakeBuilder(limit: 100_000)
        let thread = try helper(builder)
        let guest = try connect()
        _ = try? sync(guest)
        thread.join()
        #expect(guest.isGone && guest.reason == "no memory")
        let error = #expect(throws: GuestError.self) { try guest.run {} }
        #expect(error?.reason == "its warm image is lost: no memory")
        #expect(throws: GuestError.self) { try connect() }
    }

    /// libxl destroys a domain in a child of its own: killed in the middle of that, it would leave the domain behind.
    @Test func givingUpEndsNoChildButTheReaderOfTheStream() throws {
        let reader = xen.path("libxl-save-helper")
        try FileManager.default.createSymbolicLink(atPath: reader, withDestinationPath: "/bin/sleep")
        let reading = try ProcessHandle(pid: try ChildProcess.spawn(reader, ["100"]))
        let destroying = try ProcessHandle(pid: try ChildProcess.spawn("/bin/sleep", ["100"]))
        LibxlBuilder.endStreamReaders()
        #expect(reading.waitForEnd(milliseconds: 10_000))
        #expect(!destroying.hasEnded)
        destroying.signal(SIGKILL)
        #expect(destroying.waitForEnd(milliseconds: 10_000))
        for process in [reading, destroying] { ChildProcess.reap(process.pid) }
    }

    @Test func aDeadHelpersDomainIsCleared() throws {
        try xen.write("", "warm-db.sock")
        try xen.write("7", "named-db--incoming")
        try xen.write("7 \(ScriptedXen.uuid) paused\n", "domains")
        let activator = XenActivator(
            templates: xen.folder.path,
            runtimeDirectory: xen.folder.path,
            xl: XlProgram(path: xen.path("xl")),
            host: xen
        )
        #expect(throws: GuestError.self) { try activator.warmGuest("db") }
        #expect(try xen.domains() == [])
    }

    @Test func oneThatDoesNotFitIsRefusedInNumbers() throws {
        xen.free.withLock { $0 = 65_536 }
        let activator = XenActivator(
            templates: xen.folder.path,
            runtimeDirectory: xen.folder.path,
            xl: XlProgram(path: xen.path("xl")),
            host: xen,
            devices: xen.path("net")
        )
        let description = GuestDescription(
            name: "db",
            uuid: ScriptedXen.uuid,
            kind: .hvm,
            pageCount: 32_768,
            address: "",
            config: Array(ScriptedXen.json().utf8)
        )
        let error = #expect(throws: GuestError.self) { try activator.prepare(description) }
        #expect(
            error?.reason
                == "it cannot be kept warm here: it takes 132 MiB of this host's memory and 64 MiB are free"
        )
    }
}
